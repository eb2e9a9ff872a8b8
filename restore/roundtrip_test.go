package restore

import (
	"os"
	"path/filepath"
	"testing"

	"bluesky/restore/treetest"
)

// TestRoundTrip compares by find, sha256sum, getfattr, getcap and lsattr.
func TestRoundTrip(t *testing.T) {
	source := filepath.Join(t.TempDir(), "source")
	must(t, os.Mkdir(source, 0o755))
	treetest.Make(t, source)
	b := newMemoryBed(t)
	from := b.backup(t, source)
	for _, tt := range []struct {
		name    string
		options Options
	}{
		{"plain", Options{}},
		{"verified, one connection", Options{Verify: true, Connections: 1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.options.Target = filepath.Join(t.TempDir(), "target")
			result, rec := b.restore(t, from, tt.options)
			treetest.Compare(t, source, tt.options.Target+source)
			if result.TotalBytes != result.BytesRestored || rec.bytes != rec.total || result.TotalBytes != rec.total {
				t.Errorf("%d bytes found, %d restored, %d and %d reported", result.TotalBytes, result.BytesRestored, rec.total, rec.bytes)
			}
			if result.TotalEntries != result.EntriesRestored || result.EntriesSkipped != 0 || rec.entries != len(rec.items) {
				t.Errorf("got %+v, %d entries announced and %d done", result, rec.entries, len(rec.items))
			}
		})
	}
}

// TestRoundTripAgain restores over what was restored before: nothing is
// written, whatever the tree.
func TestRoundTripAgain(t *testing.T) {
	source := filepath.Join(t.TempDir(), "source")
	must(t, os.Mkdir(source, 0o755))
	treetest.Make(t, source)
	b := newMemoryBed(t)
	from := b.backup(t, source)
	target := t.TempDir()
	b.restore(t, from, Options{Target: target})
	for _, overwrite := range []Overwrite{OverwriteAlways, OverwriteIfChanged, OverwriteIfNewer, OverwriteNever} {
		result, _ := b.restore(t, from, Options{Target: target, Overwrite: overwrite})
		treetest.Compare(t, source, target+source)
		if result.BytesRestored != 0 || result.BytesSkipped != result.TotalBytes {
			t.Errorf("%s: got %+v, want no bytes restored", overwrite, result)
		}
	}
}
