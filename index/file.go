package index

import (
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"

	"bluesky/object"
)

// Meta is what a signed add-run says of a run.
type Meta struct {
	Repository object.RepositoryID
	Name       RunName
	Size       int64
	Hash       object.Hash
}

// Load is [Decode] for bytes that must be the run that want describes.
func Load(data []byte, want Meta) (*Run, error) {
	if int64(len(data)) != want.Size {
		return nil, corruptf("run %s: %d bytes, not %d", want.Name, len(data), want.Size)
	}
	r, err := Decode(data, want.Repository, want.Name)
	if errors.Is(err, ErrVersion) && object.HashBytes("run", data[:len(data)-trailerSize]) != want.Hash {
		// These are not the bytes that were registered, whatever they claim: no
		// upgrade reads them.
		return nil, corruptf("run %s: its hash is not the registered one", want.Name)
	}
	if err != nil {
		return nil, err
	}
	if r.Hash() != want.Hash {
		return nil, corruptf("run %s: its hash is not the registered one", want.Name)
	}
	return r, nil
}

// OpenFile maps the file at path, which must hold the run that want describes,
// and verifies all of it, each time: a million rows take less than 0.1 s,
// and a file that a power cut emptied, or that somebody changed, is not
// believed because it was right before.
//
// Only a regular file of this user that nobody else may write is mapped; a
// system that cannot map reads it. The file must not be written or cut short
// while the run is in use; removing or replacing it (by rename, as [Cache]
// does) is fine. Where it is changed in spite of that, rows are wrong, or the
// process ends with a fault; no read goes outside of the mapping.
//
// The error wraps [ErrCorrupt], [ErrVersion], or that of the file system.
func OpenFile(path string, want Meta) (*Run, error) {
	data, unmap, err := mapFile(path, want.Size)
	if err != nil {
		return nil, fmt.Errorf("run %s: %w", want.Name, err)
	}
	r, err := loadMapped(data, want)
	if err != nil {
		unmap(data)
		return nil, err
	}
	runtime.AddCleanup(r, unmap, data)
	return r, nil
}

// loadMapped is Load for memory whose pages may fail to come: a disk that
// cannot read is an error here, not the end of the process.
func loadMapped(data []byte, want Meta) (r *Run, err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if fault := recover(); fault != nil {
			if _, ok := fault.(interface{ Addr() uintptr }); !ok {
				panic(fault)
			}
			r, err = nil, corruptf("run %s: its file cannot be read to the end", want.Name)
		}
	}()
	return Load(data, want)
}
