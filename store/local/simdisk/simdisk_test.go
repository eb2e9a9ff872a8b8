package simdisk

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"slices"
	"syscall"
	"testing"

	"bluesky/store/local"
)

func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// write makes files in dir, of which the even ones are synced, and the first
// half of their names.
func write(t *testing.T, d local.FS, n int) {
	t.Helper()
	dir := must(d.OpenDir("."))(t)
	for i := range n {
		f := must(dir.Create(fmt.Sprintf("%02d", i)))(t)
		must(f.Write([]byte("0123456789")))(t)
		if i%2 == 0 {
			must(0, f.Sync())(t)
		}
		if i == n/2 {
			must(0, dir.Sync())(t)
		}
	}
}

// contents returns "name: bytes" of each file.
func contents(t *testing.T, d local.FS) (list []string) {
	t.Helper()
	dir := must(d.OpenDir("."))(t)
	for entries, err := dir.ReadDir(100); err == nil; entries, err = dir.ReadDir(100) {
		for _, e := range entries {
			f := must(dir.Open(e.Name()))(t)
			data := make([]byte, must(f.Stat())(t).Size())
			if len(data) > 0 {
				must(f.ReadAt(data, 0))(t)
			}
			list = append(list, fmt.Sprintf("%s: %q", e.Name(), data))
		}
	}
	slices.Sort(list)
	return list
}

// What a power cut leaves follows from the seed; what was synced is there, and
// the rest may be anything that POSIX allows.
func TestAfterPowerCut(t *testing.T) {
	d := New()
	write(t, d, 10)
	kinds := map[string]bool{}
	for seed := range uint64(200) {
		left := contents(t, d.AfterPowerCut(rand.New(rand.NewPCG(seed, 0))))
		if again := contents(t, d.AfterPowerCut(rand.New(rand.NewPCG(seed, 0)))); !slices.Equal(left, again) {
			t.Fatalf("seed %d gives %v and %v", seed, left, again)
		}
		for _, name := range []string{"00", "02", "04"} {
			if !slices.Contains(left, name+`: "0123456789"`) {
				t.Fatalf("seed %d: %s was synced, and there is %v", seed, name, left)
			}
		}
		for _, e := range left {
			switch {
			case e[:2] > "05":
				kinds["name kept"] = true
			case e[:2] != "01":
			case len(e) == len(`01: ""`):
				kinds["empty"] = true
			case len(e) < len(`01: "0123456789"`):
				kinds["torn"] = true
			case len(e) > len(`01: "0123456789"`):
				kinds["zeros"] = true
			default:
				kinds["whole"] = true
			}
		}
		if len(left) == 6 {
			kinds["names lost"] = true
		}
	}
	if len(kinds) != 6 {
		t.Errorf("of what may be left only %v was seen", kinds)
	}
}

// After the cut no call succeeds.
func TestCut(t *testing.T) {
	d := New()
	write(t, d, 2)
	dir := must(d.OpenDir("."))(t)
	f := must(dir.Open("00"))(t)
	d.CutAt(d.Calls())
	if _, err := dir.Lstat("00"); err != nil {
		t.Errorf("before it: %v", err)
	}
	_, readErr := f.ReadAt(make([]byte, 1), 0)
	if readErr != nil {
		t.Errorf("before it: %v", readErr)
	}
	if err := dir.Sync(); !errors.Is(err, ErrPowerCut) {
		t.Errorf("the call that it comes before: %v", err)
	}
	_, readErr = f.ReadAt(make([]byte, 1), 0)
	_, lstatErr := dir.Lstat("00")
	_, dirErr := dir.ReadDir(1)
	_, openErr := d.OpenDir(".")
	for i, err := range []error{readErr, lstatErr, dirErr, openErr, d.Mkdir("x"), dir.Remove("00")} {
		if !errors.Is(err, ErrPowerCut) {
			t.Errorf("call %d behind it: %v", i, err)
		}
	}
	if d.Calls() != 2*2+1+1 {
		t.Errorf("%d calls", d.Calls())
	}
}

func TestRefuser(t *testing.T) {
	for _, after := range []bool{false, true} {
		d := New()
		r := NewRefuser(d, "link")
		r.Refuse(1, syscall.ENOSPC, after)
		dir := must(r.OpenDir("."))(t)
		if _, err := dir.Create("a"); !errors.Is(err, syscall.ENOSPC) || r.Hit() != "create" {
			t.Errorf("got %v, hit %q", err, r.Hit())
		}
		if got := len(contents(t, d)); got != map[bool]int{false: 0, true: 1}[after] {
			t.Errorf("after %v: %d files", after, got)
		}
		if err := dir.Link("a", "b"); !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("a call that it lacks: %v", err)
		}
		if _, err := dir.Lstat("missing"); !errors.Is(err, fs.ErrNotExist) || r.Calls() != 3 {
			t.Errorf("behind it: %v, %d calls", err, r.Calls())
		}
	}
}
