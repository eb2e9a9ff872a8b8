package store

import (
	"fmt"
	"io/fs"
	"testing"
	"testing/synctest"
	"time"

	"bluesky/store/local"
	"bluesky/store/local/simdisk"

	"gocloud.dev/blob"
)

// A folder on a slow but honest disk, say beyond a thin line, is not given up: it
// gives bytes all the time, though a driver that asks for much at once sees them
// late.
func TestSlowDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(blob.NewBucket(local.New(slowDisk{simdisk.New()}, time.Now)), "somewhere")
		defer s.Close()
		data := make([]byte, 4<<20) // takes 64 s
		if err := s.PutNew(t.Context(), "run", data); err != nil {
			t.Fatal(err)
		}
		for name, read := range map[string]func() ([]byte, error){
			"get":   func() ([]byte, error) { return s.Get(t.Context(), "run", 4<<20) },
			"range": func() ([]byte, error) { return s.GetRange(t.Context(), "run", 0, 4<<20) },
		} {
			d := took(func() {
				if got, err := read(); err != nil || len(got) != len(data) {
					t.Errorf("%s: %d bytes, %v", name, len(got), err)
				}
			})
			if d > 65*time.Second {
				t.Errorf("%s: took %v, as if it were read more than once", name, d)
			}
		}
	})
}

// A listing of such a disk comes to its end too.
func TestSlowListing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(blob.NewBucket(local.New(slowDisk{simdisk.New()}, time.Now)), "somewhere")
		defer s.Close()
		const objects = 1500
		for i := range objects {
			if err := s.Put(t.Context(), fmt.Sprintf("seg/%02x/%d", i%256, i), nil); err != nil {
				t.Fatal(err)
			}
		}
		n := 0
		for _, err := range s.List(t.Context(), "seg/") {
			if err != nil {
				t.Fatalf("after %d objects: %v", n, err)
			}
			n++
		}
		if n != objects {
			t.Errorf("%d objects, want %d", n, objects)
		}
	})
}

// A slowDisk reads 64 KiB in a second of the bubble, and looks a name up in a
// tenth of one.
type slowDisk struct{ local.FS }

func (d slowDisk) OpenDir(name string) (local.Dir, error) {
	dir, err := d.FS.OpenDir(name)
	if err != nil {
		return nil, err
	}
	return slowDir{dir}, nil
}

type slowDir struct{ local.Dir }

func (d slowDir) Lstat(name string) (fs.FileInfo, error) {
	time.Sleep(time.Second / 10)
	return d.Dir.Lstat(name)
}

func (d slowDir) Open(name string) (local.File, error) {
	f, err := d.Dir.Open(name)
	if err != nil {
		return nil, err
	}
	return slowFile{f}, nil
}

type slowFile struct{ local.File }

func (f slowFile) ReadAt(p []byte, off int64) (int, error) {
	time.Sleep(time.Duration(len(p)) * time.Second / (64 << 10))
	return f.File.ReadAt(p, off)
}
