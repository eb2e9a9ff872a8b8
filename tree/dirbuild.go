package tree

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"bluesky/object"
)

// BuildDir stores a directory of the given entries, in any order, and returns
// the id of its root. It sorts entries in place. Equal entries make an equal
// directory.
func BuildDir(ctx context.Context, sink Sink, hasher Hasher, p Params, entries []Entry) (object.ID, error) {
	slices.SortFunc(entries, func(a, b Entry) int { return strings.Compare(a.Name, b.Name) })
	for i := range entries {
		if err := entries[i].check(); err != nil {
			return object.ID{}, fmt.Errorf("directory: %w", err)
		}
		if i > 0 && entries[i].Name == entries[i-1].Name {
			return object.ID{}, fmt.Errorf("directory: the entry %q stands there twice", entries[i].Name)
		}
	}
	if len(entries) <= p.DirMax {
		return putEntries(ctx, sink, entries)
	}
	hashed := make([]hashedEntry, len(entries))
	for i := range entries {
		hashed[i] = hashedEntry{&entries[i], hasher.NameHash([]byte(entries[i].Name))}
	}
	return putSplit(ctx, sink, p, hashed, 0)
}

type hashedEntry struct {
	*Entry
	hash [32]byte
}

func putEntries(ctx context.Context, sink Sink, entries []Entry) (object.ID, error) {
	payload := encodeEntries(entries)
	if len(payload) > object.MaxPayload {
		// Unreachable with the default dir_max; 65,536 of the longest names do it.
		return object.ID{}, fmt.Errorf("a directory of %d bytes that is not split", len(payload))
	}
	return sink.Put(ctx, object.KindDir, nil, payload)
}

// putSplit stores the sorted entries below a split at level.
func putSplit(ctx context.Context, sink Sink, p Params, entries []hashedEntry, level int) (object.ID, error) {
	if level == maxDirLevels {
		return object.ID{}, fmt.Errorf("a directory with %d names of nearly the same hash", len(entries))
	}
	var parts [dirFanout][]hashedEntry
	for _, e := range entries {
		s := slot(&e.hash, level)
		parts[s] = append(parts[s], e)
	}
	var children [dirFanout]object.ID
	for i, part := range parts {
		if len(part) == 0 {
			continue
		}
		id, err := putPart(ctx, sink, p, part, level+1)
		if err != nil {
			return object.ID{}, err
		}
		children[i] = id
		parts[i] = nil // its memory may go while the others are stored
	}
	refs, payload := encodeSplit(&children, level)
	return sink.Put(ctx, object.KindDir, refs, payload)
}

func putPart(ctx context.Context, sink Sink, p Params, part []hashedEntry, level int) (object.ID, error) {
	if len(part) > p.DirMax {
		return putSplit(ctx, sink, p, part, level)
	}
	entries := make([]Entry, len(part))
	for i := range part {
		entries[i] = *part[i].Entry
	}
	return putEntries(ctx, sink, entries)
}
