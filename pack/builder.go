package pack

import (
	"errors"
	"fmt"
	"slices"

	"bluesky/object"
)

// ErrDuplicate is wrapped by [Builder.Add] for an id that the segment has.
var ErrDuplicate = errors.New("object is in the segment already")

// A Builder fills one segment after the other. It is not safe for concurrent
// use.
//
// The body mostly stands in place from the start: the builder keeps room in
// front of it, and [Builder.Finish] writes the header there, or moves the body
// when there are so many objects that the header needs more. Memory is the
// target, that room, some 120 bytes for each distinct id (of an object or a
// ref), 64 for each object and 4 for each ref; [Builder.Reset] keeps it for the
// next segment.
type Builder struct {
	repository object.RepositoryID
	class      object.Class
	target     int64

	buf      []byte // room ‖ body
	room     int    // bytes of buf in front of the body
	finished bool

	sessions     []object.Session // in the order of their first use
	sessionIndex map[object.SessionID]int
	objects      []Object             // sessions by their place above; offsets from the body's start
	refs         []uint32             // places in ids
	ids          []entry              // of objects and of refs, in the order of their first use
	index        map[object.ID]uint32 // place in ids
	adds         uint32               // calls of addRefs

	size sizes
	sums summer
}

// roomShare is the part of the target that is room for a header: 1 in so many.
const roomShare = 16

// An entry is an id that an object has or refers to.
type entry struct {
	id   object.ID
	last uint32 // the last call of addRefs that met it as a ref
	own  bool   // it is an object of this segment
}

// sizes is what the length of a segment follows from.
type sizes struct {
	sessions  int64 // bytes of the session table
	counts    int64 // bytes of the numbers of refs
	objects   int64
	externals int64
	refs      int64
	body      int64
}

// header returns at least the length of the header. Only the length of a ref is
// not exact: each counts as the longest.
func (s *sizes) header() int64 {
	ref := int64(uvarintLen(uint64(s.objects + s.externals)))
	return headerFixed + s.sessions + s.objects*objectFixed + s.counts + s.refs*ref + s.externals*idSize
}

func (s *sizes) segment() int64 { return PreludeSize + s.header() + s.body + TrailerSize }

// possible reports whether the format allows such a segment.
func (s *sizes) possible() bool { return s.header() <= MaxHeader && s.segment() <= MaxSize }

// NewBuilder returns a builder of segments of class class. target is the length
// in bytes that a finished segment should not exceed; see [Builder.Fits].
func NewBuilder(repository object.RepositoryID, class object.Class, target int) *Builder {
	return &Builder{
		repository:   repository,
		class:        class,
		target:       int64(target),
		room:         target / roomShare,
		sessionIndex: map[object.SessionID]int{},
		index:        map[object.ID]uint32{},
	}
}

// Len returns the number of objects added since the last Reset.
func (b *Builder) Len() int { return len(b.objects) }

// Size returns the length in bytes that the finished segment has at most; the
// true one is shorter by at most three bytes for each ref.
func (b *Builder) Size() int64 { return b.size.segment() }

// Has reports whether an object of that id was added since the last Reset.
func (b *Builder) Has(id object.ID) bool {
	at, ok := b.index[id]
	return ok && b.ids[at].own
}

// Fits reports whether the finished segment stays within the target with o in
// it. An empty builder takes any object, so a segment is longer than the target
// only when one object alone makes it so. [Builder.Add] does not ask.
func (b *Builder) Fits(o object.Sealed) bool {
	if len(b.objects) == 0 {
		return true
	}
	after := b.size
	if _, known := b.sessionIndex[o.Session]; !known {
		if len(b.sessions) == maxSessions {
			return false
		}
		after.sessions += sessionFixed + hpkeWrap
	}
	after.add(&o)
	for _, id := range o.Refs {
		if _, known := b.index[id]; !known {
			after.externals++
		}
	}
	return after.segment() <= b.target && after.possible()
}

// add counts o without its session and without new external refs.
func (s *sizes) add(o *object.Sealed) {
	s.objects++
	s.counts += int64(uvarintLen(uint64(len(o.Refs))))
	s.refs += int64(len(o.Refs))
	s.body += int64(len(o.Bytes))
}

// Add appends o, which session s sealed. It copies all that it keeps.
//
// An id that is there already is [ErrDuplicate]; another kind of class, a
// session that is not o's or differs from one of the same id before, a ref that
// stands twice or is o itself, and lengths that the format refuses are errors
// of the caller. After an error the builder is as it was before.
func (b *Builder) Add(o object.Sealed, s object.Session) error {
	if err := b.check(&o, &s); err != nil {
		return fmt.Errorf("pack object %s: %w", o.ID.Short(), err)
	}
	after := b.size
	session, known := b.sessionIndex[s.ID]
	if !known {
		session = len(b.sessions)
		after.sessions += int64(sessionFixed + len(s.Wrap))
	}
	after.add(&o)
	refs, ids := len(b.refs), len(b.ids)
	if err := b.addRefs(&o, &after); err != nil {
		b.dropRefs(refs, ids)
		return fmt.Errorf("pack object %s: %w", o.ID.Short(), err)
	}

	b.size = after
	if !known {
		s.Wrap = slices.Clone(s.Wrap)
		b.sessions = append(b.sessions, s)
		b.sessionIndex[s.ID] = session
	}
	if b.buf == nil {
		b.buf = make([]byte, b.room, int64(b.room)+max(b.target, after.body+TrailerSize))
	}
	b.objects = append(b.objects, Object{
		ID:      o.ID,
		Sum:     b.sums.sum(o.ID, o.Kind, o.Session, o.Refs, o.Bytes),
		Offset:  uint32(len(b.buf) - b.room),
		Length:  uint32(len(o.Bytes)),
		refs:    uint32(refs),
		Session: uint16(session),
		Kind:    o.Kind,
	})
	b.buf = append(b.buf, o.Bytes...)
	return nil
}

func (b *Builder) check(o *object.Sealed, s *object.Session) error {
	switch {
	case b.finished:
		return errors.New("the segment is finished: reset the builder first")
	case !o.Kind.Valid() || o.Kind.Class() != b.class || s.Class != b.class:
		return fmt.Errorf("%v sealed in a %v session does not belong in a %v segment", o.Kind, s.Class, b.class)
	case o.Session != s.ID:
		return fmt.Errorf("sealed in session %s, not in %s", o.Session, s.ID)
	case len(o.Bytes) < MinSealed || len(o.Bytes) > object.MaxSealed:
		return fmt.Errorf("%d sealed bytes", len(o.Bytes))
	case b.Has(o.ID):
		return ErrDuplicate
	}
	if at, known := b.sessionIndex[s.ID]; known {
		if was := &b.sessions[at]; was.Type != s.Type || was.Epoch != s.Epoch || string(was.Wrap) != string(s.Wrap) {
			return fmt.Errorf("session %s differs from the one of the same id before", s.ID)
		}
		return nil
	}
	if want, err := wrapLength(s.Type); err != nil || len(s.Wrap) != want {
		return fmt.Errorf("session %s of type %d has a wrap of %d bytes", s.ID, s.Type, len(s.Wrap))
	}
	if len(b.sessions) == maxSessions {
		return fmt.Errorf("more than %d sessions", maxSessions)
	}
	return nil
}

// addRefs takes o's refs and o itself into the tables, and checks that the
// segment stays possible. After an error dropRefs undoes it.
func (b *Builder) addRefs(o *object.Sealed, after *sizes) error {
	b.adds++
	for _, id := range o.Refs {
		at, known := b.index[id]
		if !known {
			at = b.intern(id)
			after.externals++
		}
		if id == o.ID {
			return errors.New("refers to itself")
		}
		if b.ids[at].last == b.adds {
			return fmt.Errorf("names ref %s twice", id.Short())
		}
		b.ids[at].last = b.adds
		b.refs = append(b.refs, at)
	}
	at, known := b.index[o.ID]
	if known {
		after.externals-- // objects before this one refer to it
	}
	if !after.possible() {
		return fmt.Errorf("does not fit: a segment of %d bytes with a header of %d", after.segment(), after.header())
	}
	if !known {
		at = b.intern(o.ID)
	}
	b.ids[at].own = true
	return nil
}

func (b *Builder) intern(id object.ID) uint32 {
	at := uint32(len(b.ids))
	b.ids = append(b.ids, entry{id: id})
	b.index[id] = at
	return at
}

// dropRefs takes back what an addRefs did that failed: refs and ids are the
// lengths before it.
func (b *Builder) dropRefs(refs, ids int) {
	for i := range b.ids[ids:] {
		delete(b.index, b.ids[ids+i].id)
	}
	b.ids, b.refs = b.ids[:ids], b.refs[:refs]
}

// Reset empties the builder and keeps its memory. The Bytes of the segment that
// the last Finish returned are the builder's, and no longer valid.
func (b *Builder) Reset() {
	b.finished = false
	b.sessions = b.sessions[:0]
	clear(b.sessionIndex)
	b.objects, b.refs = b.objects[:0], b.refs[:0]
	b.ids, b.adds = b.ids[:0], 0
	clear(b.index)
	b.size = sizes{}
	b.room = int(b.target) / roomShare
	if b.buf != nil {
		b.buf = b.buf[:b.room]
	}
}
