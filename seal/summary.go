package seal

import (
	"crypto/cipher"
	"encoding/binary"
	"fmt"
	"io"

	"bluesky/object"
)

// A sealed summary, docs/format.md, "Objects", is u8 version ‖ nonce ‖
// ciphertext ‖ tag, of u32 length ‖ record ‖ zeros to Padmé, whatever the
// padding of the repository.
const (
	summaryVersion = 1
	summaryHead    = 4
	maxSummary     = 64 << 10 // bytes, sealed; docs/format.md, "Ops"
)

// ErrLongSummary is wrapped by [Keys.SealSummary] for what is too long.
var ErrLongSummary = fmt.Errorf("more than %d bytes, sealed", maxSummary)

// SealSummary seals plain, the summary of a snapshot, for the entry that
// lists it. rand is the source of the nonce. The error wraps [ErrLongSummary]
// for a plain that is too long for an entry once sealed.
func (k *Keys) SealSummary(rand io.Reader, session object.SessionID, snapshot object.ID, plain []byte) ([]byte, error) {
	framed := frameSummary(plain)
	size := 1 + nonceSize + len(framed) + tagSize
	if size > maxSummary {
		return nil, fmt.Errorf("summary of snapshot %s: %w", snapshot, ErrLongSummary)
	}
	sealed := make([]byte, 1+nonceSize, size)
	sealed[0] = summaryVersion
	nonce := sealed[1:]
	if _, err := io.ReadFull(rand, nonce); err != nil {
		return nil, fmt.Errorf("summary of snapshot %s: draw a nonce: %w", snapshot, err)
	}
	return k.summaryCipher(session, snapshot).Seal(sealed, nonce, framed, k.summaryAAD(session, snapshot)), nil
}

// OpenSummary returns what [Keys.SealSummary] sealed for that session and
// snapshot. The error wraps [object.ErrVersion] for a summary of a newer
// format, and [object.ErrCorrupt] for what is none.
func (k *Keys) OpenSummary(session object.SessionID, snapshot object.ID, sealed []byte) ([]byte, error) {
	plain, err := k.openSummary(session, snapshot, sealed)
	if err != nil {
		return nil, fmt.Errorf("summary of snapshot %s: %w", snapshot, err)
	}
	return plain, nil
}

func (k *Keys) openSummary(session object.SessionID, snapshot object.ID, sealed []byte) ([]byte, error) {
	switch {
	case len(sealed) == 0 || sealed[0] == 0:
		return nil, object.ErrCorrupt
	case sealed[0] > summaryVersion:
		return nil, fmt.Errorf("version %d: %w", sealed[0], object.ErrVersion)
	case len(sealed) < 1+nonceSize+summaryHead+tagSize || len(sealed) > maxSummary:
		return nil, fmt.Errorf("%d sealed bytes: %w", len(sealed), object.ErrCorrupt)
	}
	nonce, ciphertext := sealed[1:1+nonceSize], sealed[1+nonceSize:]
	framed, err := k.summaryCipher(session, snapshot).Open(nil, nonce, ciphertext, k.summaryAAD(session, snapshot))
	if err != nil {
		return nil, fmt.Errorf("does not decrypt: %w", object.ErrCorrupt)
	}
	return parseSummary(framed)
}

func frameSummary(plain []byte) []byte {
	b := binary.LittleEndian.AppendUint32(nil, uint32(len(plain)))
	b = append(b, plain...)
	return appendZeros(b, padme(len(b))-len(b))
}

// parseSummary returns the record in framed, which it aliases.
func parseSummary(framed []byte) ([]byte, error) {
	if len(framed) < summaryHead {
		return nil, fmt.Errorf("plaintext of %d bytes: %w", len(framed), object.ErrCorrupt)
	}
	n := uint64(binary.LittleEndian.Uint32(framed))
	if n > uint64(len(framed)-summaryHead) {
		return nil, fmt.Errorf("%d bytes of record in a plaintext of %d: %w", n, len(framed), object.ErrCorrupt)
	}
	end := summaryHead + int(n)
	if err := checkPadding(framed, end, PaddingPadme); err != nil {
		return nil, err
	}
	return framed[summaryHead:end], nil
}

// summaryName is repository id ‖ session id ‖ snapshot object id.
func (k *Keys) summaryName(session object.SessionID, snapshot object.ID) []byte {
	b := append(k.repo[:len(k.repo):len(k.repo)], session[:]...)
	return append(b, snapshot[:]...)
}

func (k *Keys) summaryCipher(session object.SessionID, snapshot object.ID) cipher.AEAD {
	return gcm(kdf(k.meta[:], "summary", k.summaryName(session, snapshot), 32))
}

func (k *Keys) summaryAAD(session object.SessionID, snapshot object.ID) []byte {
	aad := append([]byte(object.Label("summary")), suite)
	return append(aad, k.summaryName(session, snapshot)...)
}
