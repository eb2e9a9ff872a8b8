package seal

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	"bluesky/object"

	"golang.org/x/crypto/argon2"
)

// Errors of opening a key slot, beside [object.ErrCorrupt] and
// [object.ErrVersion].
var (
	// ErrWrongPassword says that the password does not open this slot. A slot
	// that was changed looks the same: both fail to authenticate.
	ErrWrongPassword = errors.New("wrong password, or a key slot of another repository")
	// ErrMemory says that the slot's Argon2 parameters ask for more memory
	// than the caller allows. Another slot, or a larger machine, may do.
	ErrMemory = errors.New("the key slot needs more memory than is allowed here")
)

// SlotParams are the costs of Argon2id (RFC 9106) for one password slot.
type SlotParams struct {
	Time   uint32 // passes, 1 to 64
	Memory uint32 // KiB, 8 per lane to 4 GiB
	Lanes  uint8  // 1 to 64
}

// DefaultSlotParams returns the second recommended option of RFC 9106: 64 MiB,
// so that small machines and many at once can open a slot.
func DefaultSlotParams() SlotParams { return SlotParams{Time: 3, Memory: 64 << 10, Lanes: 4} }

// ParamsOf returns the costs of the slot whose bytes are data. The error wraps
// [object.ErrVersion] or [object.ErrCorrupt].
func ParamsOf(data []byte) (SlotParams, error) {
	r, err := decodeSlot(data)
	if err != nil {
		return SlotParams{}, fmt.Errorf("key slot: %w", err)
	}
	return SlotParams{r.Time, r.Memory, r.Lanes}, nil
}

const (
	maxTime   = 64
	maxLanes  = 64
	maxMemory = 4 << 20 // KiB
)

// check refuses parameters that no reader accepts. It must pass before Argon2
// runs: that panics for some, and allocates whatever it is told to.
func (p SlotParams) check() error {
	switch {
	case p.Time < 1 || p.Time > maxTime:
		return fmt.Errorf("argon2 time %d, want 1 to %d", p.Time, maxTime)
	case p.Lanes < 1 || p.Lanes > maxLanes:
		return fmt.Errorf("argon2 lanes %d, want 1 to %d", p.Lanes, maxLanes)
	case p.Memory < 8*uint32(p.Lanes) || p.Memory > maxMemory:
		return fmt.Errorf("argon2 memory %d KiB, want %d to %d", p.Memory, 8*uint32(p.Lanes), maxMemory)
	}
	return nil
}

// A SlotID names a key slot: keys/<32 hex>.
type SlotID [16]byte

func (id SlotID) String() string { return hex.EncodeToString(id[:]) }

// NewSlot wraps b under password and returns the new slot's id and bytes.
// Salt, id and nonces come from rand. info is readable for whoever holds the
// keys; host and user are cut to 100 bytes each.
func NewSlot(rand io.Reader, password []byte, b Bundle, info SlotInfo, params SlotParams) (SlotID, []byte, error) {
	if err := params.check(); err != nil {
		return SlotID{}, nil, fmt.Errorf("new key slot: %w", err)
	}
	var id SlotID
	data, err := newSlot(rand, &id, password, &b, info, params)
	if err != nil {
		return SlotID{}, nil, fmt.Errorf("new key slot: %w", err)
	}
	return id, data, nil
}

func newSlot(rand io.Reader, id *SlotID, password []byte, b *Bundle, info SlotInfo, params SlotParams) ([]byte, error) {
	r := slotRecord{Version: slotVersion, Type: slotPassword, Time: params.Time, Memory: params.Memory, Lanes: params.Lanes}
	var wrapNonce, infoNonce [nonceSize]byte
	for _, draw := range [][]byte{id[:], r.Salt[:], wrapNonce[:], infoNonce[:]} {
		if _, err := io.ReadFull(rand, draw); err != nil {
			return nil, fmt.Errorf("draw a salt: %w", err)
		}
	}
	bundle, err := encodeBundle(b)
	if err != nil {
		return nil, err
	}
	r.Wrap = gcm(r.key(password)).Seal(wrapNonce[:], wrapNonce[:], bundle, r.aad(b.Repository, *id))
	meta := kdf(b.Root[:], "meta key", nil, 32)
	if r.Info, err = sealInfo(meta, b.Repository, *id, infoNonce, info); err != nil {
		return nil, err
	}
	return encodeSlot(&r)
}

// OpenSlot unwraps the bundle of slot id of repository repo. memoryLimit is
// how much memory in bytes Argon2 may take; [MemoryLimit] says what suits this
// machine.
//
// The error wraps [ErrWrongPassword], [ErrMemory], [object.ErrVersion] or
// [object.ErrCorrupt]. Whether the bundle is that of the repository's own
// generation 0 is for the caller to check.
func OpenSlot(id SlotID, data []byte, repo object.RepositoryID, password []byte, memoryLimit uint64) (Bundle, error) {
	b, err := openSlot(id, data, repo, password, memoryLimit)
	if err != nil {
		return Bundle{}, fmt.Errorf("key slot %s: %w", id, err)
	}
	return b, nil
}

func openSlot(id SlotID, data []byte, repo object.RepositoryID, password []byte, memoryLimit uint64) (Bundle, error) {
	r, err := decodeSlot(data)
	if err != nil {
		return Bundle{}, err
	}
	if need := uint64(r.Memory) << 10; need > memoryLimit {
		return Bundle{}, fmt.Errorf("%w: %d MiB, of %d MiB", ErrMemory, need>>20, memoryLimit>>20)
	}
	nonce, ciphertext := r.Wrap[:nonceSize], r.Wrap[nonceSize:]
	plain, err := gcm(r.key(password)).Open(nil, nonce, ciphertext, r.aad(repo, id))
	if err != nil {
		return Bundle{}, ErrWrongPassword
	}
	b, err := decodeBundle(plain)
	if err != nil {
		return Bundle{}, err
	}
	if b.Repository != repo {
		return Bundle{}, fmt.Errorf("the bundle is of repository %s: %w", b.Repository, object.ErrCorrupt)
	}
	return b, nil
}

// key derives the key-encryption key. The parameters were checked.
func (r *slotRecord) key(password []byte) []byte {
	return argon2.IDKey(password, r.Salt[:], r.Time, r.Memory, r.Lanes, 32)
}
