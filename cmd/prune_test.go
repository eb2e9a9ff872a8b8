package cmd

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"bluesky/prune"
	"bluesky/repo"
	"bluesky/store"
)

func TestHintsOfPrune(t *testing.T) {
	for name, tt := range map[string]struct {
		err    error
		hinted bool
	}{
		"damage":           {prune.ErrDamaged, true},
		"rights":           {store.ErrPermission, true},
		"mass delete":      {prune.ErrMassDelete, true},
		"outrun":           {repo.ErrConflict, true},
		"interrupted":      {context.Canceled, false},
		"interrupted read": {fmt.Errorf("%w: %w", prune.ErrDamaged, context.Canceled), false},
	} {
		own, ok := errors.AsType[*exitError](pruneError(fmt.Errorf("segment x: %w", tt.err)))
		if hinted := ok && own.hint != ""; hinted != tt.hinted {
			t.Errorf("%s: hinted: %v", name, hinted)
		}
	}
	if pruneError(nil) != nil {
		t.Error("an error of nothing")
	}
}
