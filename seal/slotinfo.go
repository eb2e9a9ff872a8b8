package seal

import (
	"crypto/cipher"
	"encoding/binary"
	"fmt"

	"bluesky/object"
)

// SlotInfo says who made a key slot, for the list that lets a user choose
// which to remove. It is sealed: host and user names stand nowhere in the
// clear. The password is not needed to read it, any slot's keys are enough.
type SlotInfo struct {
	Created object.Time `cbor:"1,keyasint,omitzero"`
	Host    []byte      `cbor:"2,keyasint,omitempty"`
	User    []byte      `cbor:"3,keyasint,omitempty"`
}

const (
	infoHead       = 2
	infoSize       = 256 // bytes, padded
	sealedInfoSize = nonceSize + infoSize + tagSize

	// maxInfoName is where NewSlot cuts a host or user, so that both fit.
	maxInfoName = 100
)

// SlotInfo returns the info of slot id, whose bytes are data.
func (k *Keys) SlotInfo(id SlotID, data []byte) (SlotInfo, error) {
	info, err := openInfo(k.meta[:], k.repo, id, data)
	if err != nil {
		return SlotInfo{}, fmt.Errorf("info of key slot %s: %w", id, err)
	}
	return info, nil
}

func openInfo(meta []byte, repo object.RepositoryID, id SlotID, data []byte) (SlotInfo, error) {
	r, err := decodeSlot(data)
	if err != nil {
		return SlotInfo{}, err
	}
	framed, err := infoCipher(meta, id).Open(nil, r.Info[:nonceSize], r.Info[nonceSize:], infoAAD(repo, id))
	if err != nil {
		return SlotInfo{}, fmt.Errorf("does not decrypt: %w", object.ErrCorrupt)
	}
	return decodeInfo(framed)
}

func sealInfo(meta []byte, repo object.RepositoryID, id SlotID, nonce [nonceSize]byte, info SlotInfo) ([]byte, error) {
	info.Host = info.Host[:min(len(info.Host), maxInfoName)]
	info.User = info.User[:min(len(info.User), maxInfoName)]
	framed, err := encodeInfo(&info)
	if err != nil {
		return nil, err
	}
	return infoCipher(meta, id).Seal(nonce[:], nonce[:], framed, infoAAD(repo, id)), nil
}

func encodeInfo(info *SlotInfo) ([]byte, error) {
	record, err := object.EncodeCBOR(info)
	if err != nil {
		return nil, err
	}
	if len(record) > infoSize-infoHead || !info.Created.Valid() {
		return nil, fmt.Errorf("slot info does not fit into %d bytes, or its time is not one", infoSize)
	}
	framed := binary.LittleEndian.AppendUint16(make([]byte, 0, infoSize), uint16(len(record)))
	framed = append(framed, record...)
	return appendZeros(framed, infoSize-len(framed)), nil
}

func decodeInfo(framed []byte) (SlotInfo, error) {
	if len(framed) != infoSize {
		return SlotInfo{}, fmt.Errorf("%d bytes, want %d: %w", len(framed), infoSize, object.ErrCorrupt)
	}
	end := infoHead + int(binary.LittleEndian.Uint16(framed))
	if end > infoSize || !isZero(framed[end:]) {
		return SlotInfo{}, fmt.Errorf("length or padding: %w", object.ErrCorrupt)
	}
	var info SlotInfo
	if err := object.DecodeCBOR(framed[infoHead:end], &info); err != nil {
		return SlotInfo{}, err
	}
	if !info.Created.Valid() {
		return SlotInfo{}, fmt.Errorf("created: %w", object.ErrCorrupt)
	}
	return info, nil
}

func infoCipher(meta []byte, id SlotID) cipher.AEAD {
	return gcm(kdf(meta, "slot info", id[:], 32))
}

func infoAAD(repo object.RepositoryID, id SlotID) []byte {
	aad := append([]byte(object.Label("slot info")), repo[:]...)
	return append(aad, id[:]...)
}
