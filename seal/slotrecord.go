package seal

import (
	"encoding/binary"
	"fmt"

	"bluesky/object"
)

// The record of a key slot, docs/format.md, "Key slot".
const (
	slotVersion  = 1
	slotPassword = 1 // the only type of version 1
	maxSlot      = 64 << 10
)

type slotRecord struct {
	Version uint64   `cbor:"1,keyasint,omitempty"`
	Type    uint64   `cbor:"2,keyasint,omitempty"`
	Salt    [32]byte `cbor:"3,keyasint"`
	Time    uint32   `cbor:"4,keyasint,omitempty"`
	Memory  uint32   `cbor:"5,keyasint,omitempty"` // KiB
	Lanes   uint8    `cbor:"6,keyasint,omitempty"`
	Wrap    []byte   `cbor:"7,keyasint,omitempty"` // nonce ‖ ciphertext ‖ tag
	Info    []byte   `cbor:"8,keyasint,omitempty"` // nonce ‖ ciphertext ‖ tag
}

func encodeSlot(r *slotRecord) ([]byte, error) { return object.EncodeCBOR(r) }

// decodeSlot checks everything about a slot that needs no key, so that what it
// returns may be given to Argon2.
func decodeSlot(data []byte) (*slotRecord, error) {
	if len(data) > maxSlot {
		return nil, fmt.Errorf("%d bytes, more than %d: %w", len(data), maxSlot, object.ErrCorrupt)
	}
	if err := checkSlotVersion(data); err != nil {
		return nil, err
	}
	var r slotRecord
	if err := object.DecodeCBOR(data, &r); err != nil {
		return nil, err
	}
	if err := (SlotParams{r.Time, r.Memory, r.Lanes}).check(); err != nil {
		return nil, fmt.Errorf("%w: %w", err, object.ErrCorrupt)
	}
	switch {
	case len(r.Wrap) <= nonceSize+tagSize:
		return nil, fmt.Errorf("wrap of %d bytes: %w", len(r.Wrap), object.ErrCorrupt)
	case len(r.Info) != sealedInfoSize:
		return nil, fmt.Errorf("info of %d bytes, want %d: %w", len(r.Info), sealedInfoSize, object.ErrCorrupt)
	}
	return &r, nil
}

// checkSlotVersion judges version and type before anything else: what follows
// them differs from one to the other.
func checkSlotVersion(data []byte) error {
	version, err := object.PeekVersion(data)
	switch {
	case err != nil:
		return err
	case version == 0:
		return fmt.Errorf("version 0: %w", object.ErrCorrupt)
	case version > slotVersion:
		return fmt.Errorf("version %d: %w", version, object.ErrVersion)
	}
	var members map[uint64]any
	if err := object.DecodeCBOR(data, &members); err != nil {
		return err
	}
	typ, ok := members[2].(uint64)
	switch {
	case !ok || typ == 0:
		return fmt.Errorf("no type: %w", object.ErrCorrupt)
	case typ > slotPassword:
		return fmt.Errorf("type %d: %w", typ, object.ErrVersion)
	}
	return nil
}

// aad binds the wrap to its repository, its name, and every parameter.
func (r *slotRecord) aad(repo object.RepositoryID, id SlotID) []byte {
	b := []byte(object.Label("slot"))
	b = append(b, repo[:]...)
	b = append(b, id[:]...)
	b = append(b, byte(r.Type))
	b = binary.LittleEndian.AppendUint32(b, r.Time)
	b = binary.LittleEndian.AppendUint32(b, r.Memory)
	b = append(b, r.Lanes)
	return append(b, r.Salt[:]...)
}
