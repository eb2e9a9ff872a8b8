package local_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	. "bluesky/store/local"
	"bluesky/store/local/simdisk"

	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"
)

// shapes are the kinds of file system that the driver writes to differently,
// by the calls that they lack.
var shapes = map[string][]string{
	"unnamed files":    nil,
	"unlinkable":       {"link unnamed"}, // O_TMPFILE works and linking does not: no /proc, some overlays
	"links only":       {"create unnamed", "link unnamed"},
	"exclusive rename": {"create unnamed", "link unnamed", "link"},
}

func upload(b *blob.Bucket, key string, data []byte, exclusive bool) error {
	return b.Upload(context.Background(), key, bytes.NewReader(data), &blob.WriterOptions{
		ContentType: ContentType, IfNotExist: exclusive,
	})
}

// A step writes or deletes one key.
type step struct {
	key       string
	data      string // "" deletes
	exclusive bool
}

func (s step) do(b *blob.Bucket) error {
	if s.data == "" {
		return b.Delete(context.Background(), s.key)
	}
	return upload(b, s.key, []byte(s.data), s.exclusive)
}

// history ends with a reuse of each folder, new and old.
var history = []step{
	{"bluesky.json", "parameters", true},
	{"gen/0000000000000000", "first generation", true},
	{"seg/ab/1111", strings.Repeat("segment ", 500), true},
	{"seg/ab/2222", "second segment", true},
	{"gen/0000000000000001", "second generation", true},
	{"state/head", "one", false},
	{"state/head", "another", false},
	{"seg/ab/1111", "", false},
	{"gen/0000000000000002", "third generation", true},
}

// TestPowerCut cuts the power before each call of a history of writes, on a
// disk that then loses what was not synced. What was acknowledged must be
// there, the rest must be absent or whole, and writing must go on.
func TestPowerCut(t *testing.T) {
	for name, lacks := range shapes {
		t.Run(name, func(t *testing.T) {
			for limit := 0; ; limit++ {
				disk := simdisk.New(lacks...)
				disk.CutAt(limit)
				acked := runHistory(t, disk)
				for seed := range uint64(12) {
					rng := rand.New(rand.NewPCG(uint64(limit), seed))
					checkSurvivors(t, fmt.Sprintf("power cut before call %d, seed %d", limit, seed), disk.AfterPowerCut(rng), acked)
				}
				if acked == len(history) {
					return
				}
			}
		})
	}
}

// runHistory returns how many steps were acknowledged before the power went.
func runHistory(t *testing.T, disk *simdisk.Disk) int {
	b := blob.NewBucket(New(disk, time.Now))
	for i, s := range history {
		if err := s.do(b); err != nil {
			if !errors.Is(err, simdisk.ErrPowerCut) {
				t.Fatalf("%+v: %v", s, err)
			}
			return i
		}
	}
	return len(history)
}

func checkSurvivors(t *testing.T, when string, disk *simdisk.Disk, acked int) {
	t.Helper()
	want := map[string][]string{} // the values that a key may have; "" is absent
	for i, s := range history[:min(acked+1, len(history))] {
		if i < acked {
			want[s.key] = []string{s.data}
			continue
		}
		old := want[s.key]
		if old == nil {
			old = []string{""}
		}
		want[s.key] = append(old, s.data) // in flight: before or after
	}
	b := blob.NewBucket(New(disk, time.Now))
	got := contents(t, b)
	for key, allowed := range want {
		if !containsString(allowed, got[key]) {
			t.Fatalf("%s: after %d steps %s is %.20q, want one of %.20q", when, acked, key, got[key], allowed)
		}
		delete(got, key)
	}
	for key, data := range got {
		t.Fatalf("%s: %s (%.20q) was never written", when, key, data)
	}
	for _, key := range []string{"gen/ffffffffffffffff", "seg/ab/ffff", "state/ffff"} {
		if err := upload(b, key, []byte("next"), true); err != nil {
			t.Fatalf("%s: the next write of %s: %v", when, key, err)
		}
	}
}

func containsString(list []string, s string) bool {
	for _, e := range list {
		if e == s {
			return true
		}
	}
	return false
}

// contents lists and reads all objects, and checks that none is temporary.
func contents(t *testing.T, b *blob.Bucket) map[string]string {
	t.Helper()
	got := map[string]string{}
	objects, token, err := b.ListPage(context.Background(), blob.FirstPageToken, 10000, nil)
	if err != nil || len(token) > 0 {
		t.Fatalf("list: token %q, error %v", token, err)
	}
	for _, o := range objects {
		data, err := b.ReadAll(context.Background(), o.Key)
		if err != nil {
			t.Fatalf("read %s: %v", o.Key, err)
		}
		if strings.Contains(o.Key, TempPrefix) {
			t.Fatalf("temporary file %s is listed", o.Key)
		}
		got[o.Key] = string(data)
	}
	return got
}

func TestNoExclusiveCreate(t *testing.T) {
	disk := simdisk.New("create unnamed", "link unnamed", "link", "rename new")
	b := blob.NewBucket(New(disk, time.Now))
	err := upload(b, "gen/0", []byte("x"), true)
	if !errors.Is(err, ErrNoExclusiveCreate) {
		t.Fatalf("got %v, want ErrNoExclusiveCreate", err)
	}
	if got := contents(t, b); len(got) > 0 {
		t.Errorf("the refused write left %q", got)
	}
	handle, err := disk.OpenDir("gen")
	if err != nil {
		t.Fatal(err)
	}
	if entries, _ := handle.ReadDir(10); len(entries) > 0 {
		t.Errorf("the refused write left the file %s", entries[0].Name())
	}
}

func TestExclusiveInEveryShape(t *testing.T) {
	for name, lacks := range shapes {
		t.Run(name, func(t *testing.T) {
			b := blob.NewBucket(New(simdisk.New(lacks...), time.Now))
			for i, want := range []gcerrors.ErrorCode{gcerrors.OK, gcerrors.FailedPrecondition} {
				err := upload(b, "gen/0", []byte{byte('a' + i)}, true)
				if got := gcerrors.Code(err); got != want {
					t.Errorf("create %d: got %v (%v), want %v", i, got, err, want)
				}
			}
			if got := contents(t, b)["gen/0"]; got != "a" {
				t.Errorf("got %q, want the first one's bytes", got)
			}
		})
	}
}

// A folder that vanished under a running process is made again, durably.
func TestFolderRemovedMeanwhile(t *testing.T) {
	disk := simdisk.New()
	b := blob.NewBucket(New(disk, time.Now))
	if err := upload(b, "seg/ab/1", []byte("x"), true); err != nil {
		t.Fatal(err)
	}
	disk.Forget("seg")
	if err := upload(b, "seg/ab/2", []byte("y"), true); err != nil {
		t.Fatal(err)
	}
	for seed := range uint64(20) {
		after := blob.NewBucket(New(disk.AfterPowerCut(rand.New(rand.NewPCG(1, seed))), time.Now))
		if got := contents(t, after)["seg/ab/2"]; got != "y" {
			t.Fatalf("seed %d: got %q after a power cut, want y", seed, got)
		}
	}
}

func TestSweep(t *testing.T) {
	disk := simdisk.New()
	dir, err := disk.OpenDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{TempPrefix + "abandoned", "stays"} {
		if _, err := dir.Create(name); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		age  time.Duration
		want error
	}{{StrayAge - time.Minute, nil}, {StrayAge + time.Minute, fs.ErrNotExist}} {
		now := func() time.Time { return time.Now().Add(tt.age) }
		if err := upload(blob.NewBucket(New(disk, now)), "key"+fmt.Sprint(tt.age), []byte("x"), true); err != nil {
			t.Fatal(err)
		}
		if _, err := dir.Lstat(TempPrefix + "abandoned"); !errors.Is(err, tt.want) {
			t.Errorf("stray after %v: got %v, want %v", tt.age, err, tt.want)
		}
		if _, err := dir.Lstat("stays"); err != nil {
			t.Errorf("an object was swept after %v: %v", tt.age, err)
		}
	}
}

// lateFS is an FS in which something happens at the last moment before a file
// gets a name.
type lateFS struct {
	FS
	before func()
}

func (f lateFS) OpenDir(name string) (Dir, error) {
	d, err := f.FS.OpenDir(name)
	return lateDir{d, f.before}, err
}

type lateDir struct {
	Dir
	before func()
}

func (d lateDir) LinkUnnamed(file File, name string) error {
	d.before()
	return d.Dir.LinkUnnamed(file, name)
}

func (d lateDir) Link(old, name string) error      { d.before(); return d.Dir.Link(old, name) }
func (d lateDir) RenameNew(old, name string) error { d.before(); return d.Dir.RenameNew(old, name) }
func (d lateDir) Rename(old, name string) error    { d.before(); return d.Dir.Rename(old, name) }

// TestExclusiveAtTheLastMoment: a writer that takes the name between the look
// and the link of another has it.
func TestExclusiveAtTheLastMoment(t *testing.T) {
	for name, lacks := range shapes {
		t.Run(name, func(t *testing.T) {
			disk := simdisk.New(lacks...)
			once := sync.OnceFunc(func() {
				if err := upload(blob.NewBucket(New(disk, time.Now)), "gen/0", []byte("winner"), true); err != nil {
					t.Error(err)
				}
			})
			late := blob.NewBucket(New(lateFS{disk, once}, time.Now))
			if err := upload(late, "gen/0", []byte("loser"), true); gcerrors.Code(err) != gcerrors.FailedPrecondition {
				t.Errorf("the loser got %v", err)
			}
			if got := contents(t, late)["gen/0"]; got != "winner" {
				t.Errorf("got %q", got)
			}
		})
	}
}

// A name that a failed call has given all the same is found by whoever reads back,
// and goes on with it: no power cut takes it away.
func TestNameGivenByAFailedCall(t *testing.T) {
	for shape, lacks := range shapes {
		for _, call := range []string{"link unnamed", "link", "rename new", "rename"} {
			for _, exclusive := range []bool{true, false} {
				disk := simdisk.New(lacks...)
				refuser := simdisk.NewRefuser(disk)
				refuser.Only(call)
				b := blob.NewBucket(New(refuser, time.Now))
				refuser.Refuse(0, syscall.ENOSPC, true)
				err := upload(b, "keys/1", []byte("slot"), exclusive)
				if refuser.Hit() == "" {
					continue // this shape does without the call
				}
				when := fmt.Sprintf("%s, %s, exclusive %v", shape, call, exclusive)
				if !errors.Is(err, syscall.ENOSPC) {
					t.Errorf("%s: %v", when, err)
				}
				if contents(t, blob.NewBucket(New(disk, time.Now)))["keys/1"] != "slot" {
					continue
				}
				for seed := range uint64(20) {
					left := disk.AfterPowerCut(rand.New(rand.NewPCG(seed, 0)))
					if got := contents(t, blob.NewBucket(New(left, time.Now)))["keys/1"]; got != "slot" {
						t.Fatalf("%s: it was there, and %q is left", when, got)
					}
				}
			}
		}
	}
}
