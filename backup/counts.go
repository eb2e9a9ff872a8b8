package backup

import (
	"slices"
	"sync"
	"time"

	"bluesky/tree"
)

// counts are what was found of files and directories.
type counts struct {
	mu          sync.Mutex
	files, dirs [3]uint64 // by Change
	bytes       uint64
	total       uint64
}

func (c *counts) add(change Change, in *tree.Inode) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if in.Type == tree.TypeDir {
		c.dirs[change]++
		return
	}
	c.files[change]++
	c.total++
	c.bytes += in.Size
}

func (c *counts) record(s sinkStats) tree.Counts {
	c.mu.Lock()
	defer c.mu.Unlock()
	return tree.Counts{
		FilesNew: c.files[New], FilesChanged: c.files[Modified], FilesUnmodified: c.files[Unmodified],
		DirsNew: c.dirs[New], DirsChanged: c.dirs[Modified], DirsUnmodified: c.dirs[Unmodified],
		DataBlobs: s.dataObjects, TreeBlobs: s.metaObjects,
		DataAdded: s.plain, DataAddedPacked: s.stored,
		TotalFilesProcessed: c.total, TotalBytesProcessed: c.bytes,
	}
}

// A rhythm says when a long backup registers what it has: every half hour, every
// 8 GiB, or every quarter of a million objects. So a crash loses no more than
// that, and the memory that each object takes until then is bounded. Where
// nothing is new for half a day it says so as well, for what the session has
// registered is protected for 7 days from its last generation (R10).
type rhythm struct {
	now     func() time.Time
	last    time.Time
	size    uint64
	objects uint64
}

const (
	runEvery   = 30 * time.Minute
	runBytes   = 8 << 30
	runObjects = 1 << 18
	idleEvery  = 12 * time.Hour // a generation a day, and as much again between two looks
)

func newRhythm(now func() time.Time) rhythm { return rhythm{now: now, last: now()} }

// due reports whether an add-run is, that many objects of that many bytes into
// the session, and takes it for done.
func (r *rhythm) due(objects, stored uint64) bool {
	now := r.now()
	passed := now.Sub(r.last)
	due := passed >= runEvery || stored-r.size >= runBytes || objects-r.objects >= runObjects
	if objects == r.objects {
		due = passed >= idleEvery
	}
	if due {
		r.last, r.size, r.objects = now, stored, objects
	}
	return due
}

// sorted returns a sorted copy without repetitions.
func sorted(list []string) []string {
	list = slices.Clone(list)
	slices.Sort(list)
	return slices.Compact(list)
}

func byteStrings(list []string) [][]byte {
	var out [][]byte
	for _, s := range list {
		out = append(out, []byte(s))
	}
	return out
}
