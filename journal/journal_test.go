package journal

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"bluesky/object"
)

// testTagger hashes.
type testTagger struct{}

func (testTagger) TagSize() int { return 16 }

func (testTagger) Tag(message []byte) ([]byte, error) {
	hash := object.HashBytes("test", message)
	return hash[:16], nil
}

func (t testTagger) Verify(message, tag []byte) bool {
	want, _ := t.Tag(message)
	return bytes.Equal(want, tag)
}

func testFormat(scope byte) Format {
	return Format{Magic: [8]byte([]byte("BLUETST\n")), Scope: object.Hash{scope}, Max: 100, Tagger: testTagger{}}
}

func must(t testing.TB, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// records returns the bodies that path has, and the error of reading them.
func records(t testing.TB, path string, format Format) ([]string, error) {
	t.Helper()
	f, err := Open(path, format, false)
	must(t, err)
	defer f.Close()
	var all []string
	err = f.Scan(func(offset int64, body []byte) {
		all = append(all, string(body))
		if again, ok := f.ReadAt(offset); !ok || !bytes.Equal(again, body) {
			t.Errorf("record %q at %d reads as %q, %v", body, offset, again, ok)
		}
	})
	return all, err
}

// made returns the path of a journal of the given records, and its bytes.
func made(t testing.TB, bodies ...string) (string, []byte) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "journal")
	f, err := Create(path, testFormat(1))
	must(t, err)
	for _, body := range bodies {
		must(t, f.Append([]byte(body)))
	}
	must(t, f.Close())
	data, err := os.ReadFile(path)
	must(t, err)
	return path, data
}

var bodies = []string{"first", "", "the third", string(make([]byte, 100))}

// A prefix of a journal has those records that it has whole, and goes on from
// there.
func TestTornTail(t *testing.T) {
	path, data := made(t, bodies...)
	ends := []int{headerSize} // of the records
	for _, body := range bodies {
		ends = append(ends, ends[len(ends)-1]+lengthSize+len(body)+16)
	}
	if ends[len(bodies)] != len(data) {
		t.Fatalf("%d bytes, want %d", len(data), ends[len(bodies)])
	}
	for n := range len(data) + 1 {
		for _, tail := range []string{"", "\x00\x00\x00\x00", "\xff\xff\xff\xff garbage"} {
			if n < headerSize && tail != "" {
				continue // a header that garbage completes is somebody else's
			}
			must(t, os.WriteFile(path, append(bytes.Clone(data[:n]), tail...), 0o600))
			whole := 0
			for whole < len(bodies) && ends[whole+1] <= n {
				whole++
			}
			f, err := Open(path, testFormat(1), false)
			must(t, err)
			count := 0
			must(t, f.Scan(func(_ int64, body []byte) {
				if string(body) != bodies[count] {
					t.Errorf("%d bytes: record %d is %q", n, count, body)
				}
				count++
			}))
			if count != whole {
				t.Errorf("%d bytes: %d records, want %d", n, count, whole)
			}
			must(t, f.Append([]byte("more")), f.Close())
			got, err := records(t, path, testFormat(1))
			must(t, err)
			if len(got) != whole+1 || got[whole] != "more" {
				t.Errorf("%d bytes: after a record more: %q", n, got)
			}
		}
	}
}

// No byte can change unnoticed: what stands before it counts, and nothing else.
func TestFlips(t *testing.T) {
	path, data := made(t, bodies...)
	for i := range data {
		for _, bit := range []byte{1, 0x80} {
			flipped := bytes.Clone(data)
			flipped[i] ^= bit
			must(t, os.WriteFile(path, flipped, 0o600))
			got, err := records(t, path, testFormat(1))
			if err != nil && !errors.Is(err, ErrForeign) && !errors.Is(err, object.ErrVersion) {
				t.Fatal(err)
			}
			if (err != nil || i < headerSize) && len(got) != 0 {
				t.Errorf("byte %d: %q, %v", i, got, err)
			}
			end := headerSize
			for k, body := range got {
				if end += lengthSize + len(body) + 16; body != bodies[k] || end > i {
					t.Errorf("byte %d: record %d is %q", i, k, body)
				}
			}
		}
	}
}

// A record counts in its own place alone.
func TestMovedRecord(t *testing.T) {
	path, data := made(t, "same", "same")
	second := headerSize + lengthSize + 4 + 16
	moved := append(bytes.Clone(data[:headerSize]), data[second:]...)
	must(t, os.WriteFile(path, moved, 0o600))
	if got, err := records(t, path, testFormat(1)); len(got) != 0 || err != nil {
		t.Errorf("a record that was moved: %q, %v", got, err)
	}
	must(t, os.WriteFile(path, data, 0o600))
	if got, err := records(t, path, testFormat(2)); len(got) != 0 || !errors.Is(err, ErrForeign) {
		t.Errorf("of another scope: %q, %v", got, err)
	}
}

// What is not scanned is gone with the first Append.
func TestStartOver(t *testing.T) {
	path, _ := made(t, bodies...)
	f, err := Open(path, testFormat(1), true)
	must(t, err, f.Append([]byte("new")), f.Close())
	if got, err := records(t, path, testFormat(1)); len(got) != 1 || got[0] != "new" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}

func TestLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	if _, err := Open(path, testFormat(1), false); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing one: %v", err)
	}
	f, err := Open(path, testFormat(1), true)
	must(t, err)
	if _, err := Open(path, testFormat(1), true); !errors.Is(err, ErrLocked) {
		t.Errorf("one that is held: %v", err)
	}
	if err := f.Append(make([]byte, 101)); err == nil {
		t.Error("a body that is too long was taken")
	}
	must(t, f.Append([]byte("after it")), f.Remove(), f.Remove(), f.Close())
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("removed: %v", err)
	}
}

// A full disk breaks a journal for good: behind a torn record nothing counts.
func TestBroken(t *testing.T) {
	path, _ := made(t, "first")
	f, err := Open(path, testFormat(1), false)
	must(t, err, f.Scan(func(int64, []byte) {}), f.Append([]byte("second")), f.file.Close())
	for range 2 {
		if f.Append(nil) == nil {
			t.Error("no error of a write that failed")
		}
	}
	if _, ok := f.ReadAt(headerSize); ok {
		t.Error("read from a file that is closed")
	}
	f.Close()
	if got, err := records(t, path, testFormat(1)); len(got) != 2 || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}

func TestRemoveOld(t *testing.T) {
	dir := t.TempDir()
	now := time.Now()
	file := func(name string, age time.Duration) string {
		path := filepath.Join(dir, name)
		must(t, os.WriteFile(path, nil, 0o600), os.Chtimes(path, now, now.Add(-age)))
		return path
	}
	old, held, young := file("old", 2*time.Hour), file("held", 2*time.Hour), file("young", time.Minute)
	f, err := Open(held, testFormat(1), false)
	must(t, err)
	defer f.Close()
	must(t, RemoveOld(dir, now, time.Hour))
	for path, want := range map[string]bool{old: false, held: true, young: true} {
		if _, err := os.Stat(path); (err == nil) != want {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// What is read of any bytes, encoded again, is the beginning of them.
func FuzzScan(f *testing.F) {
	_, data := made(f, bodies...)
	f.Add(data)
	f.Add(data[:len(data)-1])
	f.Add(data[:headerSize])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		format := testFormat(1)
		again := format.header()
		end, err := format.scan(bytes.NewReader(data), int64(len(data)), func(offset int64, body []byte) {
			if offset != int64(len(again)) {
				t.Errorf("a record at %d, want it at %d", offset, len(again))
			}
			record, err := format.encode(offset, body)
			must(t, err)
			again = append(again, record...)
		})
		if err != nil || end == 0 {
			return
		}
		if end != int64(len(again)) || !bytes.HasPrefix(data, again) {
			t.Errorf("%x reads as %x", data, again)
		}
	})
}
