package fault

import (
	"fmt"
	"strings"
)

// A Kind is what an operation does, or a set of kinds.
type Kind uint8

// The kinds, and sets of them.
const (
	Get    Kind = 1 << iota // reads an object whole
	Range                   // reads a part
	Stat                    // asks for its size
	List                    // asks for a page of a listing
	Create                  // writes an object, if there is none of the name
	Put                     // writes it in any case
	Delete                  // removes it

	Reads  = Get | Range | Stat | List
	Writes = Create | Put | Delete
	Any    = Reads | Writes
)

var kindNames = []string{"get", "range", "stat", "list", "create", "put", "delete"}

func (k Kind) String() string {
	var names []string
	for i, name := range kindNames {
		if k&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return strings.Join(names, "|")
}

// An Op is an operation that reached a [Bucket].
type Op struct {
	N     int    // its number since Inject, from 1
	Kind  Kind   // one kind
	Key   string // the prefix of a listing
	Bytes int64  // that a put carries or a read asks for

	// Data is what a put carries, for a Plan to look at and not to keep or
	// change. It is nil in the log.
	Data []byte
	// What became of it, in the log. Err is nil while it is under way.
	Effect Effect
	Err    error
}

func (o Op) String() string {
	s := fmt.Sprintf("operation %d, %s %s", o.N, o.Kind, o.Key)
	if o.Effect != None {
		s += ": " + o.Effect.String()
	}
	return s
}

// Log returns the operations since Inject, in the order in which they came.
func (b *Bucket) Log() []Op {
	b.mu.Lock()
	defer b.mu.Unlock()
	ops := make([]Op, len(b.log))
	for i, op := range b.log {
		ops[i] = *op
	}
	return ops
}

// Struck returns those operations of the log that a fault has met.
func (b *Bucket) Struck() []Op {
	var struck []Op
	for _, op := range b.Log() {
		if op.Effect != None {
			struck = append(struck, op)
		}
	}
	return struck
}

// Count returns how many operations of the log are of the given kinds, on keys
// that begin with prefix, and the bytes that they carried or asked for.
func (b *Bucket) Count(kinds Kind, prefix string) (ops int, bytes int64) {
	for _, op := range b.Log() {
		if op.Kind&kinds != 0 && strings.HasPrefix(op.Key, prefix) {
			ops++
			bytes += op.Bytes
		}
	}
	return ops, bytes
}
