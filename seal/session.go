package seal

import (
	"crypto/ed25519"
	"crypto/hpke"
	"encoding/binary"
	"fmt"
	"sync"

	"bluesky/object"
)

// WrapSize is the length in bytes of the wrap of an HPKE session row: the
// writer's public key, the encapsulated key and the sealed 32-byte secret.
const WrapSize = ed25519.PublicKeySize + 1120 + 32 + tagSize

func recipientKEM() hpke.KEM { return hpke.MLKEM768X25519() }

// NewSession returns the row of a session of a holder of the full key: its
// secret is derived, so there is nothing to wrap.
func (k *Keys) NewSession(id object.SessionID, class object.Class) object.Session {
	return object.Session{ID: id, Class: class, Type: object.SessionDerived}
}

// Recipient returns the repository's public key, to which [WrapSession] seals
// the secrets of writers that must not read.
func (k *Keys) Recipient() []byte { return k.recipient.PublicKey().Bytes() }

// WrapSession completes row, of which ID, Class and Epoch are given, as an
// HPKE session whose secret is secret, 32 uniformly random bytes that are
// new for each row. recipient is what [Keys.Recipient] returns, writer the
// public key of the writer that seals with the secret. The randomness is that
// of crypto/hpke, which takes no source. docs/format.md, "Derivation".
func WrapSession(recipient []byte, repo object.RepositoryID, writer ed25519.PublicKey,
	row object.Session, secret [32]byte) (object.Session, error) {
	if len(writer) != ed25519.PublicKeySize {
		return object.Session{}, fmt.Errorf("wrap session %s: writer key of %d bytes", row.ID, len(writer))
	}
	public, err := recipientKEM().NewPublicKey(recipient)
	if err != nil {
		return object.Session{}, fmt.Errorf("wrap session %s: recipient key: %w", row.ID, err)
	}
	message, err := hpke.Seal(public, hpke.HKDFSHA256(), hpke.AES256GCM(), wrapInfo(repo, &row, writer), secret[:])
	if err != nil {
		return object.Session{}, fmt.Errorf("wrap session %s: %w", row.ID, err)
	}
	row.Type = object.SessionHPKE
	row.Wrap = append(append(make([]byte, 0, WrapSize), writer...), message...)
	return row, nil
}

func wrapInfo(repo object.RepositoryID, row *object.Session, writer []byte) []byte {
	info := []byte(object.Label("hpke session"))
	info = append(info, repo[:]...)
	info = append(info, row.ID[:]...)
	info = append(info, byte(row.Class))
	info = binary.LittleEndian.AppendUint32(info, row.Epoch)
	return append(info, writer...)
}

// secret returns the session secret of row, from the cache where it can.
func (k *Keys) secret(row *object.Session) ([32]byte, error) {
	if s, ok := k.sessions.get(row); ok {
		return s, nil
	}
	s, err := k.deriveSecret(row)
	if err != nil {
		return [32]byte{}, fmt.Errorf("session %s: %w", row.ID, err)
	}
	k.sessions.put(row, s)
	return s, nil
}

func (k *Keys) deriveSecret(row *object.Session) ([32]byte, error) {
	if !row.Class.Valid() {
		return [32]byte{}, fmt.Errorf("%s: %w", row.Class, object.ErrCorrupt)
	}
	switch row.Type {
	case object.SessionDerived:
		if len(row.Wrap) != 0 {
			return [32]byte{}, fmt.Errorf("a derived session with a wrap: %w", object.ErrCorrupt)
		}
		return k.derivedSecret(row.Class, row.Epoch, row.ID), nil
	case object.SessionHPKE:
		return k.unwrap(row)
	case 0:
		return [32]byte{}, fmt.Errorf("type 0: %w", object.ErrCorrupt)
	}
	return [32]byte{}, fmt.Errorf("type %d: %w", row.Type, object.ErrVersion)
}

func (k *Keys) derivedSecret(class object.Class, epoch uint32, id object.SessionID) [32]byte {
	key := &k.meta
	if class == object.ClassData {
		key = &k.data
	}
	x := binary.LittleEndian.AppendUint32(nil, epoch)
	return kdf32(key[:], "session", append(x, id[:]...))
}

func (k *Keys) unwrap(row *object.Session) ([32]byte, error) {
	if len(row.Wrap) != WrapSize {
		return [32]byte{}, fmt.Errorf("wrap of %d bytes, want %d: %w", len(row.Wrap), WrapSize, object.ErrCorrupt)
	}
	writer, message := row.Wrap[:ed25519.PublicKeySize], row.Wrap[ed25519.PublicKeySize:]
	secret, err := hpke.Open(k.recipient, hpke.HKDFSHA256(), hpke.AES256GCM(), wrapInfo(k.repo, row, writer), message)
	if err != nil || len(secret) != 32 {
		return [32]byte{}, fmt.Errorf("the wrap does not open with this repository's key: %w", object.ErrCorrupt)
	}
	return [32]byte(secret), nil
}

// sessionCacheSize bounds the cached secrets. A repository has a few sessions
// per backup, an entry at most some 1.4 KiB.
const sessionCacheSize = 1024

// A sessionCache holds the secrets of session rows that were opened before:
// HPKE takes a tenth of a millisecond, a derivation a microsecond. The key is
// the whole row, so a forged row never finds an honest row's secret.
type sessionCache struct {
	mu      sync.RWMutex
	secrets map[sessionKey][32]byte // guarded by mu
}

type sessionKey struct {
	id    object.SessionID
	class object.Class
	typ   object.SessionType
	epoch uint32
	wrap  string
}

func (c *sessionCache) get(row *object.Session) ([32]byte, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	s, ok := c.secrets[sessionKey{row.ID, row.Class, row.Type, row.Epoch, string(row.Wrap)}]
	return s, ok
}

func (c *sessionCache) put(row *object.Session, secret [32]byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.secrets == nil {
		c.secrets = make(map[sessionKey][32]byte)
	}
	for key := range c.secrets {
		if len(c.secrets) < sessionCacheSize {
			break
		}
		delete(c.secrets, key) // any one: the order of a map is random
	}
	c.secrets[sessionKey{row.ID, row.Class, row.Type, row.Epoch, string(row.Wrap)}] = secret
}
