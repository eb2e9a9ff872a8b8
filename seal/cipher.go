package seal

import (
	"crypto/aes"
	"crypto/cipher"

	"bluesky/object"
)

const (
	suite     = 1 // the suite of bluesky.json, in every AAD
	nonceSize = 12
	tagSize   = 16

	// minSealed is the length of the smallest sealed object: one byte of
	// payload.
	minSealed = nonceSize + plainHead + 1 + tagSize
)

var labelSeal = object.Label("seal")

// gcm returns AES-256-GCM under key.
func gcm(key []byte) cipher.AEAD {
	block, err := aes.NewCipher(key)
	if err != nil {
		panic(err) // only for keys of another length
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic(err) // only for ciphers of another block length
	}
	return aead
}

// objectCipher returns the cipher of one object in one session. Each object
// has a key of its own, so random nonces never come near their bound.
func objectCipher(secret *[32]byte, kind object.Kind, id object.ID) cipher.AEAD {
	var x [1 + len(id)]byte
	x[0] = byte(kind)
	copy(x[1:], id[:])
	return gcm(kdf(secret[:], "object key", x[:], 32))
}

// appendAAD appends what a sealed object is bound to: all that names it, and
// not its place.
func appendAAD(b []byte, repo object.RepositoryID, o *object.Sealed) []byte {
	b = append(b, labelSeal...)
	b = append(b, suite, byte(o.Kind))
	b = append(b, repo[:]...)
	b = append(b, o.Session[:]...)
	b = append(b, o.ID[:]...)
	return object.AppendRefs(b, o.Refs)
}
