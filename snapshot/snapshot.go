// Package snapshot lists and finds the snapshots of a repository for whoever
// holds its key: the entries of the log with their sealed summaries opened.
package snapshot

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"

	"bluesky/object"
	"bluesky/repo"
	"bluesky/seal"
	"bluesky/tree"

	"golang.org/x/sync/errgroup"
)

// Errors of [Find].
var (
	ErrNotFound  = errors.New("no matching snapshot found")
	ErrAmbiguous = errors.New("several snapshots begin like this; give more digits")
)

// A Snapshot is an entry of the log with what its summary says.
type Snapshot struct {
	repo.Snapshot
	Record tree.Snapshot // without excludes, which stand in the object
}

// Seal returns the sealed summary that goes with the entry of a snapshot. It is
// nil where it would be too long for one, of some thousand paths say: the
// object has all of it.
func Seal(keys *seal.Keys, session object.SessionID, id object.ID, record tree.Snapshot) ([]byte, error) {
	plain, err := tree.EncodeSummary(&record)
	if err != nil {
		return nil, err
	}
	sealed, err := keys.SealSummary(rand.Reader, session, id, plain)
	if errors.Is(err, seal.ErrLongSummary) {
		return nil, nil
	}
	return sealed, err
}

// List opens the summaries of all live snapshots, oldest first.
//
// One that has no summary, or a damaged one, is read from its object instead; if that cannot
// be had either, it is left out, and the error says which, beside a list of
// the others.
func List(ctx context.Context, r *repo.Repo, keys *seal.Keys, state *repo.State) ([]Snapshot, error) {
	return list(ctx, r, keys, state.Snapshots)
}

// Forgotten is [List] of the snapshots that are forgotten and not collected.
func Forgotten(ctx context.Context, r *repo.Repo, keys *seal.Keys, state *repo.State) ([]Snapshot, error) {
	entries := make([]repo.Snapshot, len(state.Forgotten))
	for i := range state.Forgotten {
		entries[i] = state.Forgotten[i].Snapshot
	}
	return list(ctx, r, keys, entries)
}

func list(ctx context.Context, r *repo.Repo, keys *seal.Keys, entries []repo.Snapshot) ([]Snapshot, error) {
	list := make([]Snapshot, len(entries))
	failed := make([]error, len(list))
	var g errgroup.Group
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i, entry := range entries {
		g.Go(func() error {
			list[i].Snapshot = entry
			list[i].Record, failed[i] = open(ctx, r, keys, entry)
			return nil
		})
	}
	_ = g.Wait() // the functions return none
	var good []Snapshot
	for i := range list {
		if failed[i] == nil {
			good = append(good, list[i])
		}
	}
	slices.SortStableFunc(good, func(a, b Snapshot) int {
		return cmp.Or(cmp.Compare(a.Time.Sec, b.Time.Sec), cmp.Compare(a.Time.Nsec, b.Time.Nsec))
	})
	return good, errors.Join(failed...)
}

// open returns the record of one entry.
func open(ctx context.Context, r *repo.Repo, keys *seal.Keys, entry repo.Snapshot) (tree.Snapshot, error) {
	plain, err := keys.OpenSummary(entry.Session, entry.ID, entry.Summary)
	if err == nil {
		var record *tree.Snapshot
		if record, err = tree.DecodeSummary(plain); err == nil {
			return *record, nil
		}
	}
	record, objectErr := Load(ctx, seal.NewReader(r.Of(entry.ID), keys), entry)
	if objectErr != nil {
		return tree.Snapshot{}, fmt.Errorf("snapshot %s: %w", entry.ID.Short(), errors.Join(err, objectErr))
	}
	return *record, nil
}

// Load reads the whole record of a snapshot from its object, and checks that
// it is the one that the log has an entry of.
func Load(ctx context.Context, reader *seal.Reader, entry repo.Snapshot) (*tree.Snapshot, error) {
	refs, payload, err := reader.Object(ctx, entry.ID, object.KindSnapshot)
	if err != nil {
		return nil, err
	}
	record, err := tree.DecodeSnapshot(refs, payload)
	if err != nil {
		return nil, err
	}
	if record.Root != entry.Root || record.Session != entry.Session {
		return nil, fmt.Errorf("%w: the log and the snapshot object disagree", object.ErrCorrupt)
	}
	return record, nil
}

// Find returns the snapshot of list, oldest first, that name means: "latest",
// or the beginning of an id.
func Find(list []Snapshot, name string) (*Snapshot, error) {
	if name == "latest" {
		if len(list) == 0 {
			return nil, ErrNotFound
		}
		return &list[len(list)-1], nil
	}
	var found *Snapshot
	for i := range list {
		if !strings.HasPrefix(list[i].ID.String(), strings.ToLower(name)) || name == "" {
			continue
		}
		if found != nil {
			return nil, fmt.Errorf("%q: %w", name, ErrAmbiguous)
		}
		found = &list[i]
	}
	if found == nil {
		return nil, fmt.Errorf("%q: %w", name, ErrNotFound)
	}
	return found, nil
}

// Latest returns the newest snapshot of list, oldest first, that host made of
// exactly these paths, nil if there is none: the parent of its next backup.
func Latest(list []Snapshot, host string, paths []string) *Snapshot {
	for i := len(list) - 1; i >= 0; i-- {
		if list[i].Record.Host == host && slices.Equal(list[i].Record.Paths, paths) {
			return &list[i]
		}
	}
	return nil
}
