package prune

import (
	"context"
	"errors"
	"strings"
	"testing"

	"bluesky/store"
	"bluesky/store/fault"

	"gocloud.dev/blob"
	"gocloud.dev/blob/driver"
)

// A locked bucket keeps segments for a while, whoever deletes them.
type locked struct{ *fault.Memory }

var errLocked = errors.New("the object is locked")

func (l locked) Delete(ctx context.Context, key string, o *driver.DeleteOptions) error {
	if strings.HasPrefix(key, "seg/") {
		return errLocked
	}
	return l.Memory.Delete(ctx, key, o)
}

// What cannot be deleted is said in one line, however much it is.
func TestWhatCannotBeDeletedIsCounted(t *testing.T) {
	memory := fault.NewMemory()
	b := newBedIn(t, store.New(blob.NewBucket(locked{memory}), "locked"), 1, 65536)
	old := b.newTree(64, 8)
	root := b.backUp(old)
	b.backUp(b.change(old, 2))
	b.forget(root)
	p, err := NewPlan(t.Context(), b.open(), tight, nil)
	if err != nil {
		t.Fatal(err)
	}
	result, err := p.Apply(t.Context(), cleaner, nil)
	if result.Condemned < 2 {
		t.Fatalf("%d segments are condemned", result.Condemned)
	}
	if err == nil {
		t.Fatal("nothing was deleted, and nobody is told")
	}
	if text := err.Error(); !strings.Contains(text, errLocked.Error()) || strings.Count(text, "delete seg/") > 2 || !strings.Contains(text, " files could not be deleted, the first: delete seg/") {
		t.Errorf("%d bytes: %.300s", len(text), text)
	}
	lockedStore := b.store
	t.Cleanup(func() { lockedStore.Close() })
	b.store = store.New(blob.NewBucket(memory), "unlocked")
	if again := b.prune(tight); again.Deleted < result.Condemned {
		t.Errorf("%d files were deleted later, of %d segments", again.Deleted, result.Condemned)
	}
}
