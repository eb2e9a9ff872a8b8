package repo

import (
	"encoding/binary"
	"fmt"
	"testing"

	"bluesky/object"
)

// BenchmarkDecodeState reads checkpoints of so many backups, each with a run
// and a snapshot: the time is that of two signatures for each.
func BenchmarkDecodeState(b *testing.B) {
	for _, n := range []int{1000, 10_000} {
		b.Run(fmt.Sprintf("%d backups", n), func(b *testing.B) {
			s := newLog(b).state.clone()
			for i := range n {
				var id object.SessionID
				binary.BigEndian.PutUint32(id[:], uint32(i))
				name := object.ID(append(id[:], id[:]...))
				for sequence, body := range []any{&AddRun{Name: [16]byte(id)}, &AddSnapshot{ID: name, Summary: make([]byte, 400)}} {
					op, err := newStatement(writer, s.Repository, id, uint64(sequence)+1, OpAddRun+OpType(sequence), body)
					if err != nil {
						b.Fatal(err)
					}
					if !s.foldStatement(&Generation{Number: 1, Author: pub(writer)}, op) {
						b.Fatal("void")
					}
				}
			}
			s.Generation = 1
			data := encodeState(b, s)
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				got, err := DecodeState(data)
				if err != nil || len(got.Snapshots) != n {
					b.Fatal(len(got.Snapshots), err)
				}
			}
		})
	}
}
