package repo

import (
	"cmp"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"bluesky/index"
	"bluesky/object"
	"bluesky/pack"
)

// A Folder is a folder of the bucket in which names are condemned before what
// they name is deleted. docs/format.md, "Ops".
type Folder uint8

// The folders of format version 1.
const (
	FolderSegments    Folder = 0
	FolderRuns        Folder = 1
	FolderTables      Folder = 2
	FolderCheckpoints Folder = 3
)

var folderPrefix = [...]string{"seg/", "idx/", "cnt/", "state/"}

// Prefix returns what the keys of the folder begin with. A folder that there is
// not, of which a hostile op may speak, has a prefix that nothing is stored under.
func (f Folder) Prefix() string {
	if !f.Valid() {
		return fmt.Sprintf("folder-%d/", uint8(f))
	}
	return folderPrefix[f]
}

// Valid reports whether f is a folder of format version 1.
func (f Folder) Valid() bool { return int(f) < len(folderPrefix) }

// A Name is a file of the bucket that is condemned before it is deleted: its
// folder, and the random name that nobody uses twice.
type Name struct {
	_      struct{} `cbor:",toarray"`
	Folder Folder
	ID     [16]byte
}

// Names of the four sorts.
func SegmentName(n pack.Name) Name          { return Name{Folder: FolderSegments, ID: n} }
func RunName(n index.RunName) Name          { return Name{Folder: FolderRuns, ID: n} }
func TableName(n [16]byte) Name             { return Name{Folder: FolderTables, ID: n} }
func CheckpointNamed(n CheckpointName) Name { return Name{Folder: FolderCheckpoints, ID: n} }

// Key returns the key of n in the bucket.
func (n Name) Key() string {
	if n.Folder == FolderSegments {
		return pack.Name(n.ID).Key()
	}
	return n.Folder.Prefix() + hex.EncodeToString(n.ID[:])
}

func (n Name) String() string { return n.Key() }

// Compare orders names by folder, then bytewise.
func (n Name) Compare(m Name) int {
	return cmp.Or(cmp.Compare(n.Folder, m.Folder), slices.Compare(n.ID[:], m.ID[:]))
}

// ParseName returns the name that is stored under key. Any key but one that
// [Name.Key] gives is foreign, and an error.
func ParseName(key string) (Name, error) {
	for f, prefix := range folderPrefix {
		if !strings.HasPrefix(key, prefix) {
			continue
		}
		n := Name{Folder: Folder(f)}
		digits := key[strings.LastIndexByte(key, '/')+1:]
		if hexField(n.ID[:], digits) == nil && n.Key() == key {
			return n, nil
		}
	}
	return Name{}, fmt.Errorf("%w: key %q is not that of a name", object.ErrCorrupt, key)
}

// validNames reports whether names are of folders that there are, and strictly
// ascending.
func validNames(names []Name) bool {
	return ascending(names, Name.Compare) &&
		!slices.ContainsFunc(names, func(n Name) bool { return !n.Folder.Valid() })
}
