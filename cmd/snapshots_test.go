package cmd

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"bluesky/object"
	"bluesky/repo"
	"bluesky/snapshot"
	"bluesky/tree"
)

func fakeSnapshot(n byte, host string, paths ...string) snapshot.Snapshot {
	at := object.TimeOf(time.Date(2026, 1, int(n), 0, 0, 0, 0, time.Local))
	return snapshot.Snapshot{
		Snapshot: repo.Snapshot{AddSnapshot: repo.AddSnapshot{ID: object.ID{n}, Time: at}},
		Record:   tree.Snapshot{Time: at, Host: host, Paths: paths},
	}
}

func TestLastOfEach(t *testing.T) {
	list := []snapshot.Snapshot{
		fakeSnapshot(1, "a", "/x"), fakeSnapshot(2, "a", "/x", "/y"), fakeSnapshot(3, "b", "/x"),
		fakeSnapshot(4, "a", "/x"), fakeSnapshot(5, "a", "/x/y"), fakeSnapshot(6, "a", "/x"),
	}
	for n, want := range map[int][]byte{
		-1: {1, 2, 3, 4, 5, 6}, 0: {1, 2, 3, 4, 5, 6}, 1: {2, 3, 5, 6}, 2: {2, 3, 4, 5, 6}, 9: {1, 2, 3, 4, 5, 6},
	} {
		var got []byte
		for _, s := range lastOfEach(list, n) {
			got = append(got, s.ID[0])
		}
		if !slices.Equal(got, want) {
			t.Errorf("the last %d of each: got %v, want %v", n, got, want)
		}
	}
}

// The table keeps its columns with many paths, no path, and odd ones.
func TestPrintSnapshots(t *testing.T) {
	many := fakeSnapshot(2, "b", "/home/a", "/home/bö", "/\x1b[2J")
	many.Record.Tags = []string{"x y", "z\n"}
	many.Record.Counts.TotalBytesProcessed = 3 << 20
	list := []snapshot.Snapshot{fakeSnapshot(1, "a"), many}
	for compact, want := range map[bool]string{
		false: `
ID        Time                 Host  Tags       Paths       Size
---------------------------------------------------------------------
01000000  2026-01-01 00:00:00  a                            0 B
02000000  2026-01-02 00:00:00  b     x y,"z\n"  /home/a     3.000 MiB
                                                /home/bö
                                                "/\x1b[2J"
---------------------------------------------------------------------
2 snapshots
`,
		true: `
ID        Time                 Host  Tags       Paths               Size
-----------------------------------------------------------------------------
01000000  2026-01-01 00:00:00  a                                    0 B
02000000  2026-01-02 00:00:00  b     x y,"z\n"  /home/a and 2 more  3.000 MiB
-----------------------------------------------------------------------------
2 snapshots
`,
	} {
		h := newTestHost(nil)
		if err := newEnv(h.host).printSnapshots(list, compact); err != nil {
			t.Fatal(err)
		}
		if got := "\n" + h.out.String(); got != want {
			t.Errorf("compact %v: got%s\nwant%s", compact, got, want)
		}
	}
}

func TestDescribe(t *testing.T) {
	s := fakeSnapshot(3, "h\x1b", "/a", "/b c\n")
	s.Record.User = "u"
	want := `snapshot 03000000 of /a, "/b c\n" at 2026-01-03 00:00:00 by u@"h\x1b"`
	if got := describe(&s); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestShortIDs(t *testing.T) {
	if got := shortIDs([]object.ID{{1}, {0xab, 0xcd}}); got != "01000000, abcd0000" {
		t.Errorf("got %s", got)
	}
	if got := fmt.Sprint(more(-1), more(0), more(2)); strings.TrimSpace(got) != "and 2 more" {
		t.Errorf("got %q", got)
	}
}
