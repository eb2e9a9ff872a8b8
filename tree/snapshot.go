package tree

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/fxamacker/cbor/v2"

	"bluesky/object"
)

// SnapshotVersion is the version of the snapshot record that this package
// writes.
const SnapshotVersion = 1

// A Snapshot is a dated pointer to an inode map, with what was asked for to
// make it. Host, user, paths, tags and excludes are bytes, not text.
// docs/format.md, "snapshot".
type Snapshot struct {
	Root object.ID // of the inode map; the one ref of the object

	Session     object.SessionID
	Time        object.Time
	Host        string
	User        string
	UID         uint32
	GID         uint32
	Paths       []string // absolute, sorted, distinct
	Tags        []string // sorted, distinct
	Description string
	Parent      object.ID // a snapshot; zero if there is none
	Program     string    // UTF-8
	Excludes    []string  // not in a summary
	Counts      Counts
	Next        uint64 // the lowest inode number never used in this snapshot or its parents
}

// Counts tell what a backup did, in numbers of files, directories, objects
// ("blobs") and bytes.
type Counts struct {
	FilesNew            uint64      `cbor:"1,keyasint,omitempty"`
	FilesChanged        uint64      `cbor:"2,keyasint,omitempty"`
	FilesUnmodified     uint64      `cbor:"3,keyasint,omitempty"`
	DirsNew             uint64      `cbor:"4,keyasint,omitempty"`
	DirsChanged         uint64      `cbor:"5,keyasint,omitempty"`
	DirsUnmodified      uint64      `cbor:"6,keyasint,omitempty"`
	DataBlobs           uint64      `cbor:"7,keyasint,omitempty"`
	TreeBlobs           uint64      `cbor:"8,keyasint,omitempty"`
	DataAdded           uint64      `cbor:"9,keyasint,omitempty"`  // bytes before compression
	DataAddedPacked     uint64      `cbor:"10,keyasint,omitempty"` // bytes as stored
	TotalFilesProcessed uint64      `cbor:"11,keyasint,omitempty"`
	TotalBytesProcessed uint64      `cbor:"12,keyasint,omitempty"`
	BackupStart         object.Time `cbor:"13,keyasint"`
	BackupEnd           object.Time `cbor:"14,keyasint"`
}

// A snapshotRecord is the stored form of a Snapshot.
type snapshotRecord struct {
	Version     uint64            `cbor:"1,keyasint"`
	Session     object.SessionID  `cbor:"2,keyasint"`
	Time        object.Time       `cbor:"3,keyasint"`
	Host        cbor.ByteString   `cbor:"4,keyasint,omitempty"`
	User        cbor.ByteString   `cbor:"5,keyasint,omitempty"`
	UID         uint32            `cbor:"6,keyasint,omitempty"`
	GID         uint32            `cbor:"7,keyasint,omitempty"`
	Paths       []cbor.ByteString `cbor:"8,keyasint,omitempty"`
	Tags        []cbor.ByteString `cbor:"9,keyasint,omitempty"`
	Description cbor.ByteString   `cbor:"10,keyasint,omitempty"`
	Parent      object.ID         `cbor:"11,keyasint,omitzero"`
	Program     string            `cbor:"12,keyasint,omitempty"`
	Excludes    []cbor.ByteString `cbor:"13,keyasint,omitempty"`
	Counts      Counts            `cbor:"14,keyasint"`
	Next        uint64            `cbor:"15,keyasint"`
}

// EncodeSnapshot returns the object of kind snapshot that holds s.
func EncodeSnapshot(s *Snapshot) (refs []object.ID, payload []byte, err error) {
	if s.Root.IsZero() {
		return nil, nil, errors.New("snapshot: no inode map")
	}
	payload, err = encodeSnapshot(s)
	if err == nil && len(payload) > object.MaxPayload {
		err = fmt.Errorf("snapshot: %d bytes, more than %d", len(payload), object.MaxPayload)
	}
	return []object.ID{s.Root}, payload, err
}

// EncodeSummary returns the record that stands, sealed, beside the snapshot in
// the log: s without root and excludes.
func EncodeSummary(s *Snapshot) ([]byte, error) {
	short := *s
	short.Excludes = nil
	return encodeSnapshot(&short)
}

func encodeSnapshot(s *Snapshot) ([]byte, error) {
	if err := s.check(); err != nil {
		return nil, fmt.Errorf("snapshot: %w", err)
	}
	return object.EncodeCBOR(snapshotRecord{
		Version: SnapshotVersion, Session: s.Session, Time: s.Time,
		Host: cbor.ByteString(s.Host), User: cbor.ByteString(s.User), UID: s.UID, GID: s.GID,
		Paths: byteStrings(s.Paths), Tags: byteStrings(s.Tags), Description: cbor.ByteString(s.Description),
		Parent: s.Parent, Program: s.Program, Excludes: byteStrings(s.Excludes), Counts: s.Counts, Next: s.Next,
	})
}

// DecodeSnapshot decodes an object of kind snapshot. The error wraps
// [ErrVersion] for a record of a newer format, else [ErrCorrupt].
func DecodeSnapshot(refs []object.ID, payload []byte) (*Snapshot, error) {
	s, err := decodeSnapshot(payload)
	if err != nil {
		return nil, fmt.Errorf("snapshot: %w", err)
	}
	if len(refs) != 1 || refs[0].IsZero() {
		return nil, corruptf("snapshot: %d refs, not the one of its inode map", len(refs))
	}
	s.Root = refs[0]
	return s, nil
}

// DecodeSummary decodes what [EncodeSummary] makes. Errors are those of
// [DecodeSnapshot].
func DecodeSummary(record []byte) (*Snapshot, error) {
	s, err := decodeSnapshot(record)
	if err == nil && len(s.Excludes) != 0 {
		err = corruptf("excludes in a summary")
	}
	if err != nil {
		return nil, fmt.Errorf("summary: %w", err)
	}
	return s, nil
}

func decodeSnapshot(record []byte) (*Snapshot, error) {
	version, err := object.PeekVersion(record)
	if err != nil {
		return nil, err
	}
	if version > SnapshotVersion {
		return nil, fmt.Errorf("version %d: %w", version, ErrVersion)
	}
	var r snapshotRecord
	if err := object.DecodeCBOR(record, &r); err != nil {
		return nil, err
	}
	if r.Version != SnapshotVersion {
		return nil, corruptf("version %d", r.Version)
	}
	s := &Snapshot{
		Session: r.Session, Time: r.Time, Host: string(r.Host), User: string(r.User), UID: r.UID, GID: r.GID,
		Paths: plainStrings(r.Paths), Tags: plainStrings(r.Tags), Description: string(r.Description),
		Parent: r.Parent, Program: r.Program, Excludes: plainStrings(r.Excludes), Counts: r.Counts, Next: r.Next,
	}
	if err := s.check(); err != nil {
		return nil, corruptf("%w", err)
	}
	return s, nil
}

func (s *Snapshot) check() error {
	if s.Session == (object.SessionID{}) {
		return errors.New("no session")
	}
	if !utf8.ValidString(s.Program) {
		return errors.New("a program that is not UTF-8")
	}
	if s.Next <= RootNumber {
		return fmt.Errorf("the next inode number is %d", s.Next)
	}
	for _, t := range []object.Time{s.Time, s.Counts.BackupStart, s.Counts.BackupEnd} {
		if !t.Valid() {
			return errors.New("a time of a billion nanoseconds or more")
		}
	}
	for _, path := range s.Paths {
		if _, err := SplitPath(path); err != nil {
			return err
		}
	}
	if !ascending(s.Paths) || !ascending(s.Tags) {
		return errors.New("paths or tags that are not sorted and distinct")
	}
	return nil
}

func ascending(list []string) bool {
	return slices.IsSorted(list) && len(slices.Compact(slices.Clone(list))) == len(list)
}

// SplitPath returns the names of an absolute path. There is one way to write a
// path: names as [CheckName] wants them, each behind one slash, or a slash
// alone for the root, which has no names.
func SplitPath(path string) ([]string, error) {
	if path == "/" {
		return nil, nil
	}
	if !strings.HasPrefix(path, "/") {
		return nil, fmt.Errorf("the path %q is not absolute", path)
	}
	if n := strings.Count(path, "/"); n > MaxDepth {
		return nil, fmt.Errorf("a path of %d names, more than %d", n, MaxDepth)
	}
	names := strings.Split(path[1:], "/")
	for _, name := range names {
		if err := CheckName(name); err != nil {
			return nil, fmt.Errorf("the path %q: %w", path, err)
		}
	}
	return names, nil
}

func byteStrings(list []string) []cbor.ByteString {
	var out []cbor.ByteString
	for _, s := range list {
		out = append(out, cbor.ByteString(s))
	}
	return out
}

func plainStrings(list []cbor.ByteString) []string {
	var out []string
	for _, s := range list {
		out = append(out, string(s))
	}
	return out
}
