package repair

import (
	"crypto"
	"encoding/binary"
	"errors"
	"testing"

	"bluesky/index"
	"bluesky/object"
	"bluesky/repo"
)

// TestNewerLog: where ops are not known, whether a run is still wanted is not
// known either.
func TestNewerLog(t *testing.T) {
	b := standard(t, 5)
	runs := registered(t, b)
	r, err := repo.Open(t.Context(), openBucket(t, b), repo.Options{})
	if err != nil {
		t.Fatal(err)
	}
	head, err := r.Refresh(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	g := repo.Generation{
		Version: 1, Number: head.Generation + 1, Previous: head.Hash, Author: public(writer), Nonce: [16]byte{1},
		Checkpoint: head.Checkpoint, Floor: head.Floor, Ops: []repo.Op{{Type: 12, Version: 1, Body: []byte{0xa0}}},
	}
	body, err := object.EncodeCBOR(&g)
	if err != nil {
		t.Fatal(err)
	}
	message := append([]byte(object.Label("generation signature")), head.Repository[:]...)
	message = append(binary.LittleEndian.AppendUint64(message, uint64(len(body))), body...)
	signature, err := writer.Sign(nil, message, crypto.Hash(0))
	if err != nil {
		t.Fatal(err)
	}
	copy(g.Signature[:], signature)
	raw, err := object.EncodeCBOR(&g)
	if err != nil {
		t.Fatal(err)
	}
	b.Objects.Set(repo.GenerationKey(g.Number), raw)
	b.Objects.Remove(runs[0])
	before := len(b.Objects.Keys(""))
	if _, err := repairIn(t, b, Options{}); !errors.Is(err, repo.ErrReadOnly) {
		t.Errorf("got %v, want %v", err, repo.ErrReadOnly)
	}
	if len(b.Objects.Keys("")) != before {
		t.Error("something was put")
	}
}

// TestOnlyWhatWasSigned: nothing else than the registered bytes is ever put.
func TestOnlyWhatWasSigned(t *testing.T) {
	b := standard(t, 6)
	r, err := repo.Open(t.Context(), openBucket(t, b), repo.Options{})
	if err != nil {
		t.Fatal(err)
	}
	state, err := r.Refresh(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	run, other := state.Runs[0], state.Runs[1]
	whole := clone(b)
	flipped := b.Objects.Get(run.Name.Key())
	flipped[100] ^= 1
	for _, data := range [][]byte{nil, flipped, flipped[1:], b.Objects.Get(other.Name.Key())} {
		if err := r.RestoreRun(t.Context(), run, data); !errors.Is(err, object.ErrCorrupt) {
			t.Errorf("%d bytes: %v", len(data), err)
		}
	}
	same(t, b, whole)
	if index.IsRun(nil, object.Hash{}) || index.IsRun(make([]byte, 200), object.Hash{}) {
		t.Error("no bytes, or zeros, are taken for a run")
	}
}
