package refcount

import (
	"bytes"
	"fmt"

	"bluesky/object"
)

// Verify checks all that a table of that type can say by itself: the hashes, each
// field and each order. It does not know the runs, nor the other tables of
// the list. It takes memory of a small multiple of the table.
//
// The error wraps [ErrCorrupt] or [ErrVersion].
func Verify(repository object.RepositoryID, typ Type, t Table) error {
	var err error
	switch typ {
	case TypeMarks:
		err = verifySections(repository, typ, t, func(s *section) error {
			_, err := decodeMarks(s, maxRows)
			return err
		})
	case TypeCounts:
		err = verifySections(repository, typ, t, func(s *section) error {
			return new(Counts).loadSection(s, false)
		})
	case TypeSpace:
		if at := preludeSize; len(t.Data) > at && t.Data[at] == formDelta {
			_, err = decodeSpaceDelta(t, repository)
		} else {
			err = verifySpaceBase(repository, t)
		}
	default:
		err = corruptf("%v", typ)
	}
	if err != nil {
		return fmt.Errorf("%v: table %s: %w", typ, t.Ref.Name, err)
	}
	return nil
}

func verifySections(repository object.RepositoryID, typ Type, t Table, check func(*section) error) error {
	sections, _, err := decodeTable(t, typ, repository)
	for i := range sections {
		if err == nil {
			err = check(&sections[i])
		}
	}
	return err
}

// verifySpaceBase makes the table again of its leaves: one value has one encoding.
func verifySpaceBase(repository object.RepositoryID, t Table) error {
	if int64(len(t.Data)) != t.Ref.Size {
		return corruptf("%d bytes, not %d", len(t.Data), t.Ref.Size)
	}
	_, content, err := decodeFrame(t.Data, TypeSpace, repository, t.Ref.Name)
	if err != nil {
		return err
	}
	tree, err := decodeSpaceHeader(content, &prelude{content: uint64(len(content))}, formBase)
	if err != nil {
		return err
	}
	rows, err := decodeUsages(t.Data[tree.levels[0].start:len(t.Data)-trailerSize], false)
	if err != nil {
		return err
	}
	again := encodeSpaceBase(repository, t.Ref.Name, tree.fanOut, rows)
	if !bytes.Equal(again.Data, t.Data) {
		return corruptf("its inner pages are not those of its leaves")
	}
	if again.Ref != t.Ref {
		return corruptf("its root is not the registered one")
	}
	return nil
}
