// Package storetest states what a repository relies on in a store.Store, as
// tests that every kind of bucket must pass.
package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"bluesky/store"
)

// Run tests the kind of store that open gives. Each call of open gives an empty
// one, which closes when its t ends.
func Run(t *testing.T, open func(t *testing.T) *store.Store) {
	tests := []struct {
		name string
		run  func(*testing.T, *store.Store)
	}{
		{"PutNew is exclusive", putNewIsExclusive},
		{"Put replaces", putReplaces},
		{"any bytes read back", anyBytesReadBack},
		{"the caller keeps its buffers", callerKeepsItsBuffers},
		{"ranges", ranges},
		{"missing keys", missingKeys},
		{"sizes are bounded", sizesAreBounded},
		{"stat", stat},
		{"list", list},
		{"list many", listMany},
		{"list stops", listStops},
		{"delete", deletes},
		{"keys", keys},
		{"cancelled context", cancelledContext},
		{"cancelled meanwhile", cancelledMeanwhile},
		{"closed", closed},
		{"race of creates", raceOfCreates},
		{"readers during replacement", readersDuringReplacement},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { tt.run(t, open(t)) })
	}
}

const limit = 1 << 20

func mustPut(t *testing.T, s *store.Store, key, data string) {
	t.Helper()
	if err := s.PutNew(t.Context(), key, []byte(data)); err != nil {
		t.Fatal(err)
	}
}

func wantGet(t *testing.T, s *store.Store, key, want string) {
	t.Helper()
	got, err := s.Get(t.Context(), key, limit)
	if err != nil || string(got) != want {
		t.Errorf("get %s: got %.40q, error %v, want %.40q", key, got, err, want)
	}
}

func wantErr(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: got error %v, want one that wraps %q", what, err, want)
	}
}

func putNewIsExclusive(t *testing.T, s *store.Store) {
	mustPut(t, s, "gen/0", "first")
	for _, data := range []string{"second", "first", ""} {
		err := s.PutNew(t.Context(), "gen/0", []byte(data))
		wantErr(t, "create of an existing key", err, store.ErrExists)
		if err != nil && !strings.Contains(err.Error(), "gen/0") {
			t.Errorf("the error %q does not name the key", err)
		}
	}
	wantGet(t, s, "gen/0", "first")
}

func putReplaces(t *testing.T, s *store.Store) {
	for _, data := range []string{"one", "a longer one", ""} {
		if err := s.Put(t.Context(), "state/head", []byte(data)); err != nil {
			t.Fatal(err)
		}
		wantGet(t, s, "state/head", data)
	}
}

func anyBytesReadBack(t *testing.T, s *store.Store) {
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	for i, data := range []string{"", "\x00", "<html>", string(all), strings.Repeat(string(all), limit/256)} {
		key := fmt.Sprintf("seg/%02x/object-%d.bin", i, i)
		mustPut(t, s, key, data)
		wantGet(t, s, key, data)
	}
}

func callerKeepsItsBuffers(t *testing.T, s *store.Store) {
	data := []byte("original")
	if err := s.PutNew(t.Context(), "key", data); err != nil {
		t.Fatal(err)
	}
	copy(data, "modified")
	got, err := s.Get(t.Context(), "key", limit)
	if err != nil {
		t.Fatal(err)
	}
	copy(got, "modified")
	wantGet(t, s, "key", "original")
}

func ranges(t *testing.T, s *store.Store) {
	mustPut(t, s, "seg/00/1", "0123456789")
	mustPut(t, s, "empty", "")
	tests := []struct {
		key     string
		off, n  int64
		want    string
		wantErr error
	}{
		{"seg/00/1", 0, 10, "0123456789", nil},
		{"seg/00/1", 0, 1, "0", nil},
		{"seg/00/1", 9, 1, "9", nil},
		{"seg/00/1", 3, 4, "3456", nil},
		{"seg/00/1", 0, 0, "", nil},
		{"seg/00/1", 10, 0, "", nil},
		{"seg/00/1", 0, 11, "", store.ErrShort},
		{"seg/00/1", 9, 2, "", store.ErrShort},
		{"seg/00/1", 10, 1, "", store.ErrShort},
		{"seg/00/1", 11, 0, "", store.ErrShort},
		{"seg/00/1", 1000, 5, "", store.ErrShort},
		{"seg/00/1", 1, math.MaxInt64 - 1, "", store.ErrShort},
		{"empty", 0, 0, "", nil},
		{"empty", 0, 1, "", store.ErrShort},
		{"missing", 0, 0, "", store.ErrNotFound},
		{"missing", 0, 1, "", store.ErrNotFound},
	}
	for _, tt := range tests {
		got, err := s.GetRange(t.Context(), tt.key, tt.off, tt.n)
		if string(got) != tt.want || !errors.Is(err, tt.wantErr) {
			t.Errorf("%s, %d bytes at %d: got %q, error %v, want %q, %v", tt.key, tt.n, tt.off, got, err, tt.want, tt.wantErr)
		}
	}
	for _, r := range [][2]int64{{-1, 1}, {0, -1}, {math.MaxInt64, 1}} {
		if _, err := s.GetRange(t.Context(), "seg/00/1", r[0], r[1]); err == nil {
			t.Errorf("%d bytes at %d: no error", r[1], r[0])
		}
	}
}

func missingKeys(t *testing.T, s *store.Store) {
	mustPut(t, s, "seg/00/1", "x")
	for _, key := range []string{"missing", "seg", "seg/00", "seg/00/1/2", "seg/00/2", "gen/0"} {
		_, err := s.Get(t.Context(), key, limit)
		wantErr(t, "get of "+key, err, store.ErrNotFound)
		_, err = s.Stat(t.Context(), key)
		wantErr(t, "stat of "+key, err, store.ErrNotFound)
		_, err = s.GetRange(t.Context(), key, 0, 1)
		wantErr(t, "range of "+key, err, store.ErrNotFound)
		wantErr(t, "delete of "+key, s.Delete(t.Context(), key), store.ErrNotFound)
	}
}

func sizesAreBounded(t *testing.T, s *store.Store) {
	mustPut(t, s, "key", "12345")
	for _, maxBytes := range []int64{5, 6, math.MaxInt64} {
		if got, err := s.Get(t.Context(), "key", maxBytes); err != nil || string(got) != "12345" {
			t.Errorf("at most %d: got %q, error %v", maxBytes, got, err)
		}
	}
	for _, maxBytes := range []int64{0, 4, -1} {
		got, err := s.Get(t.Context(), "key", maxBytes)
		wantErr(t, fmt.Sprintf("get of 5 bytes, at most %d", maxBytes), err, store.ErrTooLarge)
		if got != nil {
			t.Errorf("at most %d: got %q", maxBytes, got)
		}
	}
}

func stat(t *testing.T, s *store.Store) {
	mustPut(t, s, "gen/0", "12345")
	got, err := s.Stat(t.Context(), "gen/0")
	if err != nil || got.Key != "gen/0" || got.Size != 5 || time.Since(got.ModTime).Abs() > time.Hour {
		t.Errorf("got %+v, error %v", got, err)
	}
	for e, err := range s.List(t.Context(), "gen/") {
		if err != nil || e.Key != got.Key || e.Size != got.Size || !e.ModTime.Equal(got.ModTime) {
			t.Errorf("list has %+v, error %v, stat %+v", e, err, got)
		}
	}
}

// listed returns the keys of a listing, and fails if they are not in order.
func listed(t *testing.T, s *store.Store, prefix string) []string {
	t.Helper()
	var got []string
	for e, err := range s.List(t.Context(), prefix) {
		if err != nil {
			t.Fatalf("list %q: %v", prefix, err)
		}
		got = append(got, e.Key)
	}
	if !slices.IsSorted(got) {
		t.Errorf("list %q is not in order: %q", prefix, got)
	}
	return got
}

func list(t *testing.T, s *store.Store) {
	if got := listed(t, s, ""); len(got) != 0 {
		t.Errorf("a new store has %q", got)
	}
	all := []string{"bluesky.json", "gen/0", "gen/1", "gen/10", "keys/a", "keys/a-b", "seg/00/1", "seg/0a/1", "seg/0a/2", "seg/a0/1", "seg-x", "seg.x", "state/1"}
	for i := range all { // not in order
		mustPut(t, s, all[(i*5)%len(all)], "x")
	}
	slices.Sort(all)
	for _, prefix := range []string{"", "gen/", "gen", "gen/1", "keys/a", "seg", "seg/", "seg/0", "seg/0a/", "seg/0a/1", "missing/", "gen/0/", "t", "."} {
		want := slices.DeleteFunc(slices.Clone(all), func(k string) bool { return !strings.HasPrefix(k, prefix) })
		if got := listed(t, s, prefix); !slices.Equal(got, want) {
			t.Errorf("list %q: got %q, want %q", prefix, got, want)
		}
	}
}

// listMany needs several pages of any bucket.
func listMany(t *testing.T, s *store.Store) {
	const n = 2100
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := w; i < n; i += 4 {
				if err := s.PutNew(t.Context(), fmt.Sprintf("idx/%04d", i), nil); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	got := listed(t, s, "idx/")
	if len(got) != n || len(slices.Compact(got)) != n {
		t.Errorf("got %d keys, want %d different ones", len(got), n)
	}
}

// A consumer may stop at any entry, and list again.
func listStops(t *testing.T, s *store.Store) {
	mustPut(t, s, "gen/0", "x")
	mustPut(t, s, "gen/1", "x")
	seq := s.List(t.Context(), "gen/")
	for range 2 {
		for e, err := range seq {
			if err != nil || e.Key != "gen/0" {
				t.Errorf("got %q, error %v", e.Key, err)
			}
			break
		}
	}
}

func deletes(t *testing.T, s *store.Store) {
	mustPut(t, s, "seg/00/1", "one")
	mustPut(t, s, "seg/00/2", "two")
	if err := s.Delete(t.Context(), "seg/00/1"); err != nil {
		t.Fatal(err)
	}
	_, err := s.Get(t.Context(), "seg/00/1", limit)
	wantErr(t, "get of a deleted key", err, store.ErrNotFound)
	wantErr(t, "second delete", s.Delete(t.Context(), "seg/00/1"), store.ErrNotFound)
	if got := listed(t, s, ""); !slices.Equal(got, []string{"seg/00/2"}) {
		t.Errorf("left are %q", got)
	}
	mustPut(t, s, "seg/00/1", "again")
	wantGet(t, s, "seg/00/1", "again")
}

func keys(t *testing.T, s *store.Store) {
	long := strings.Repeat("d/", 127) + "e"
	for _, key := range []string{"a", "a.b", ".hidden", "..a", "a..", "-", "_", ".tmp-x", "0", strings.Repeat("k", 255), long} {
		mustPut(t, s, key, key)
		wantGet(t, s, key, key)
		if got := listed(t, s, key); !slices.Contains(got, key) {
			t.Errorf("list %q: got %q", key, got)
		}
	}
	for _, key := range []string{"", "/", "/a", "a/", "a//b", ".", "..", "a/./b", "a/..", "../a", "A", "a b", "a\\b", "a\x00", "é", "a%b", "a?b", long + "c"} {
		wantErr(t, "create of "+key, s.PutNew(t.Context(), key, nil), store.ErrKey)
		wantErr(t, "put of "+key, s.Put(t.Context(), key, nil), store.ErrKey)
		_, err := s.Get(t.Context(), key, limit)
		wantErr(t, "get of "+key, err, store.ErrKey)
		_, err = s.GetRange(t.Context(), key, 0, 1)
		wantErr(t, "range of "+key, err, store.ErrKey)
		_, err = s.Stat(t.Context(), key)
		wantErr(t, "stat of "+key, err, store.ErrKey)
		wantErr(t, "delete of "+key, s.Delete(t.Context(), key), store.ErrKey)
	}
	for _, prefix := range []string{"A", "a b", "é", long + "c"} {
		for _, err := range s.List(t.Context(), prefix) {
			wantErr(t, "list of "+prefix, err, store.ErrKey)
		}
	}
}

func cancelledContext(t *testing.T, s *store.Store) {
	mustPut(t, s, "old", "old")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	wantErr(t, "create", s.PutNew(ctx, "new", []byte("x")), context.Canceled)
	wantErr(t, "put", s.Put(ctx, "old", []byte("x")), context.Canceled)
	wantErr(t, "delete", s.Delete(ctx, "old"), context.Canceled)
	_, err := s.Get(ctx, "old", limit)
	wantErr(t, "get", err, context.Canceled)
	_, err = s.GetRange(ctx, "old", 0, 1)
	wantErr(t, "range", err, context.Canceled)
	_, err = s.Stat(ctx, "old")
	wantErr(t, "stat", err, context.Canceled)
	n := 0
	for _, err := range s.List(ctx, "") {
		n++
		wantErr(t, "list", err, context.Canceled)
	}
	if n != 1 {
		t.Errorf("the cancelled listing has %d entries, want one error", n)
	}
	if got := listed(t, s, ""); !slices.Equal(got, []string{"old"}) {
		t.Errorf("the store has %q, want only old", got)
	}
	wantGet(t, s, "old", "old")
}

// A write that is cancelled while it runs leaves the key absent or whole, and
// whole if it returned nil.
func cancelledMeanwhile(t *testing.T, s *store.Store) {
	data := bytes.Repeat([]byte("cancelled"), 20000)
	for i := range 30 {
		key := fmt.Sprintf("seg/%d", i)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			for range i * 20 {
				_, _ = s.Stat(t.Context(), "other") // passes the time
			}
			cancel()
		})
		err := s.PutNew(ctx, key, data)
		wg.Wait()
		if err == nil {
			wantGet(t, s, key, string(data))
			continue
		}
		got, gerr := s.Get(t.Context(), key, limit)
		if !errors.Is(gerr, store.ErrNotFound) && !bytes.Equal(got, data) {
			t.Errorf("%s after %v: got %d bytes, error %v", key, err, len(got), gerr)
		}
	}
}

func closed(t *testing.T, s *store.Store) {
	mustPut(t, s, "key", "x")
	for range 2 {
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	}
	wantErr(t, "create", s.PutNew(t.Context(), "key", nil), store.ErrClosed)
	_, err := s.Get(t.Context(), "key", limit)
	wantErr(t, "get", err, store.ErrClosed)
	wantErr(t, "delete", s.Delete(t.Context(), "key"), store.ErrClosed)
	for _, err := range s.List(t.Context(), "") {
		wantErr(t, "list", err, store.ErrClosed)
	}
}

// raceOfCreates has 8 goroutines create each of 2,000 keys. They go in pairs
// that begin at different keys, and the two of a pair wait for each other
// before each key: so every key is fought for by two at the same moment, and
// tried by six others before or after. All eight at the same key would make a
// disk sync four times as much.
func raceOfCreates(t *testing.T, s *store.Store) {
	const keys, pairs = 2000, 4
	var wins [2 * pairs][]int
	var wg sync.WaitGroup
	race := func(r int, k int) {
		err := s.PutNew(t.Context(), raceKey(k), raceData(r, k))
		switch {
		case err == nil:
			wins[r] = append(wins[r], k)
		case !errors.Is(err, store.ErrExists):
			t.Errorf("racer %d, key %d: %v", r, k, err)
		}
	}
	for p := range pairs {
		ready := make(chan struct{})
		wg.Go(func() {
			for i := range keys {
				ready <- struct{}{}
				race(2*p, (i+p*keys/pairs)%keys)
			}
		})
		wg.Go(func() {
			for i := range keys {
				<-ready
				race(2*p+1, (i+p*keys/pairs)%keys)
			}
		})
	}
	wg.Wait()
	winner := map[int]int{}
	for r := range wins {
		for _, k := range wins[r] {
			if other, twice := winner[k]; twice {
				t.Errorf("key %d was created by racer %d and racer %d", k, other, r)
			}
			winner[k] = r
		}
	}
	for k := range keys {
		r, won := winner[k]
		if !won {
			t.Errorf("key %d was created by nobody", k)
			continue
		}
		wantGet(t, s, raceKey(k), string(raceData(r, k)))
	}
}

func raceKey(k int) string { return fmt.Sprintf("gen/%016x", k) }

func raceData(r, k int) []byte { return fmt.Appendf(nil, "generation %d by racer %d", k, r) }

// readersDuringReplacement reads a key while it is replaced: every read gives
// one of the values whole.
func readersDuringReplacement(t *testing.T, s *store.Store) {
	values := [2]string{strings.Repeat("a", 50000), strings.Repeat("b", 20000)}
	mustPut(t, s, "state/head", values[0])
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		defer close(done)
		for i := range 100 {
			if err := s.Put(t.Context(), "state/head", []byte(values[(i+1)%2])); err != nil {
				t.Error(err)
			}
		}
	})
	for reading := true; reading; {
		select {
		case <-done:
			reading = false
		default:
		}
		got, err := s.Get(t.Context(), "state/head", limit)
		if err != nil || string(got) != values[0] && string(got) != values[1] {
			t.Errorf("got %d bytes, error %v, want one value whole", len(got), err)
		}
	}
	wg.Wait()
}
