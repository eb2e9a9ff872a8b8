package cmd

import (
	"fmt"
	"os"
	"syscall"
	"testing"

	"bluesky/object"
	"bluesky/store"
	"bluesky/store/fault"
	"bluesky/store/local"

	"gocloud.dev/blob"
)

// What a failing folder says comes out with the next step.
func TestHintsForAFailingStore(t *testing.T) {
	tests := []struct {
		err  error
		hint string
	}{
		{os.NewSyscallError("write", syscall.ENOSPC), hintSpace},
		{os.NewSyscallError("write", syscall.EDQUOT), hintSpace},
		{os.NewSyscallError("fsync", syscall.EIO), hintDisk},
		{fmt.Errorf("sync of folder gen: %w", store.ErrNotDurable), hintDisk},
		{os.NewSyscallError("open", syscall.EACCES), hintRights},
		{os.NewSyscallError("open", syscall.EROFS), hintRights},
		{fmt.Errorf("segment: %w", object.ErrCorrupt), hintCheck},
	}
	folder, err := local.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	b := fault.Wrap(folder)
	st := store.New(blob.NewBucket(b), "folder")
	defer st.Close()
	for _, tt := range tests {
		b.Inject(fault.Rules(fault.Rule{Effect: fault.Fail.With(tt.err)}))
		err := fmt.Errorf("backup: %w", st.PutNew(t.Context(), "gen/0", nil))
		if got := classify(err, exitRules()); got.hint != tt.hint || got.code != exitFatal {
			t.Errorf("%v: exit code %d, hint %q, want %q", err, got.code, got.hint, tt.hint)
		}
	}
}
