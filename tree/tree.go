// Package tree holds what a snapshot is made of: inodes and the map that finds
// them by number, directories, the lists of large files, and the record of the
// snapshot itself. It gives them as values, encodes and decodes them, builds
// and changes them as objects, and walks them.
//
//	snapshot → imap … imap → inodes ─→ block      small files
//	                                ├→ list … → block
//	                                └→ dir … dir
//
// docs/format.md, "Payloads", is the specification; testdata/vectors holds it
// and this code to the same answers. Every record promises:
//
//   - One value has one encoding: what decodes encodes to the same bytes.
//   - A payload names its refs by ordinal, in the order of their first use, and
//     uses each of them. In memory they are ids.
//   - Where an object ends is a function of content, keys and parameters alone,
//     so equal trees are equal objects, whatever led to them.
//
// Nothing here holds a key. What depends on one comes in through [Hasher], and
// objects go out through [Sink] and come in through [Source], which seal and
// open them. Whatever a Source yields is still judged here as if an enemy had
// written it: whoever holds a writer's key can make any payload.
package tree

import (
	"context"
	"errors"
	"fmt"

	"bluesky/object"
)

// Errors that decoders and readers wrap; see package object.
var (
	ErrCorrupt = object.ErrCorrupt
	ErrVersion = object.ErrVersion
)

// A Hasher gives the keyed hashes that boundaries depend on; *seal.Keys is
// one. Its methods may be called concurrently.
type Hasher interface {
	// MapHash returns u32(first four bytes of KH(K_map, "inode map",
	// u8 level ‖ u64 n)).
	MapHash(level uint8, n uint64) uint32
	// NameHash returns KH(K_map, "directory", name).
	NameHash(name []byte) [32]byte
}

// A Sink stores objects.
type Sink interface {
	// Put stores an object, unless it is there already, and returns its id. It
	// keeps neither refs nor payload.
	Put(ctx context.Context, kind object.Kind, refs []object.ID, payload []byte) (object.ID, error)
}

// A Source yields opened objects; *seal.Reader is one. Readers of this package
// that may be used concurrently use their Source concurrently.
type Source interface {
	// Object returns the refs and the payload of an object of the given kind,
	// which the caller may keep but not change.
	Object(ctx context.Context, id object.ID, kind object.Kind) (refs []object.ID, payload []byte, err error)
}

// Limits of docs/format.md, "Limits".
const (
	// MaxName is the most bytes that a name in a directory or the name of an
	// extended attribute has.
	MaxName = 255
	// MaxDepth is the most names that a path has.
	MaxDepth = 4096
	// MaxXattr is the most bytes that the value of an extended attribute has.
	MaxXattr = 64 << 10
	// MaxTarget is the most bytes that the target of a symlink has.
	MaxTarget = 65535
	// MaxHoles is the most holes that an inode records. Whoever finds more in
	// a file stores some of them as zeros.
	MaxHoles = 1 << 17
	// MaxXattrs is the most extended attributes that an inode has. Linux lists
	// at most 64 KiB of their names.
	MaxXattrs = 1 << 15
	// MaxChildren is the most children that a node of an inode map has.
	MaxChildren = 65536

	maxLevels    = 16 // of an inode map, leaves included; of a list
	maxDirLevels = 32 // of a split directory
)

// errStop ends an iteration that its consumer does not want more of.
var errStop = errors.New("stopped")

func corruptf(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrCorrupt, fmt.Errorf(format, args...))
}

// about tells which object err is about.
func about(kind object.Kind, id object.ID, err error) error {
	return fmt.Errorf("%s %s: %w", kind, id.Short(), err)
}

// CheckName returns an error if name cannot stand in a directory.
func CheckName(name string) error {
	switch {
	case name == "":
		return fmt.Errorf("an empty name")
	case name == "." || name == "..":
		return fmt.Errorf("the name %q", name)
	case len(name) > MaxName:
		return fmt.Errorf("a name of %d bytes, more than %d", len(name), MaxName)
	}
	for i := range len(name) {
		if name[i] == '/' || name[i] == 0 {
			return fmt.Errorf("the name %q", name)
		}
	}
	return nil
}
