package cmd

import (
	"errors"
	"math"
	"strings"
	"testing"
	"time"
)

func TestFormatBytes(t *testing.T) {
	for in, want := range map[uint64]string{
		0:              "0 B",
		1023:           "1023 B",
		1024:           "1.000 KiB",
		1263616:        "1.205 MiB",
		5 << 30:        "5.000 GiB",
		3 << 40:        "3.000 TiB",
		2 << 50:        "2.000 PiB",
		math.MaxUint64: "16.000 EiB",
	} {
		if got := formatBytes(in); got != want {
			t.Errorf("formatBytes(%d) = %q, want %q", in, got, want)
		}
	}
}

func TestFormatDuration(t *testing.T) {
	for in, want := range map[time.Duration]string{
		-time.Second:              "0:00",
		999 * time.Millisecond:    "0:00",
		62 * time.Second:          "1:02",
		time.Hour + 2*time.Second: "1:00:02",
		100 * time.Hour:           "100:00:00",
	} {
		if got := formatDuration(in); got != want {
			t.Errorf("formatDuration(%v) = %q, want %q", in, got, want)
		}
	}
}

func TestTable(t *testing.T) {
	table := newTable("ID", "Time", "Host", "Paths")
	table.row("1234abcd", "2026-11-20 23:58:02", "vm", "/home/a")
	table.row("", "", "", "/home/bö\tx")
	table.row("9876fedc", "2026-11-21 00:00:00", "a\x1b[2Jb", "/")
	table.footer = "2 snapshots"
	var got strings.Builder
	if err := table.write(&got); err != nil {
		t.Fatal(err)
	}
	want := `ID        Time                 Host       Paths
-----------------------------------------------------
1234abcd  2026-11-20 23:58:02  vm         /home/a
                                          /home/bö\tx
9876fedc  2026-11-21 00:00:00  a\x1b[2Jb  /
-----------------------------------------------------
2 snapshots
`
	if got.String() != want {
		t.Errorf("got\n%s\nwant\n%s", got.String(), want)
	}
}

func TestItemError(t *testing.T) {
	h := newTestHost(nil)
	e := newEnv(h.host)
	err := errors.New("permission\ndenied")
	e.itemError("archival", "/a\x1b", err)
	e.settings.JSON = true
	e.itemError("archival", "/a", err)
	e.warn("old %s", "key")
	e.settings.JSON = false
	e.warn("old %s", "k\x07ey")
	want := `error: "/a\x1b": permission\ndenied` + "\n" +
		`{"message_type":"error","error":{"message":"permission\ndenied"},"during":"archival","item":"/a"}` + "\n" +
		`{"message_type":"warning","message":"old key"}` + "\n" +
		`warning: old k\aey` + "\n"
	if h.err.String() != want || h.out.Len() > 0 {
		t.Errorf("got\n%swant\n%s", h.err.String(), want)
	}
}

func TestMessages(t *testing.T) {
	for _, tt := range []struct {
		settings settings
		want     string
	}{
		{settings{}, "always\n"},
		{settings{Quiet: true}, ""},
		{settings{JSON: true, Verbose: 2}, ""},
	} {
		h := newTestHost(nil)
		e := newEnv(h.host)
		e.settings = tt.settings
		e.message("always")
		e.printf("%s", "answer")
		if h.err.String() != tt.want || h.out.String() != "answer" {
			t.Errorf("%+v: got %q, want %q", tt.settings, h.err.String(), tt.want)
		}
	}
}

func TestPlural(t *testing.T) {
	if a, b, c := plural(0, "file", "files"), plural(1, "file", "files"), plural(2, "file", "files"); a != "0 files" || b != "1 file" || c != "2 files" {
		t.Error(a, b, c)
	}
}
