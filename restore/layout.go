package restore

import (
	"iter"
	"sort"

	"bluesky/tree"
)

// A layout tells where in a file its content stands. Content is what lies
// outside the holes, in order, and a block may have a hole in its midst.
type layout struct {
	holes []tree.Hole
	// before[i] are the bytes of content in front of holes[i].
	before []uint64
}

func newLayout(holes []tree.Hole) layout {
	if len(holes) == 0 {
		return layout{}
	}
	l := layout{holes: holes, before: make([]uint64, len(holes))}
	empty := uint64(0)
	for i, h := range holes {
		l.before[i] = h.Offset - empty
		empty += h.Length
	}
	return l
}

// A part is a range of a file.
type part struct{ offset, length uint64 }

// parts yields the ranges of the file that hold length bytes of content from
// offset at of the content on.
func (l *layout) parts(at, length uint64) iter.Seq[part] {
	return func(yield func(part) bool) {
		next := sort.Search(len(l.before), func(i int) bool { return l.before[i] > at })
		for length > 0 {
			shift := uint64(0) // by the holes in front of at
			if next > 0 {
				h := l.holes[next-1]
				shift = h.Offset + h.Length - l.before[next-1]
			}
			n := length
			if next < len(l.before) {
				n = min(n, l.before[next]-at)
			}
			if !yield(part{at + shift, n}) {
				return
			}
			at, length = at+n, length-n
			next++
		}
	}
}
