package seal

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"slices"

	"bluesky/object"

	"github.com/klauspost/compress/zstd"
)

// ErrVerify marks a sealed object that did not open to what was sealed. The
// bytes never left memory: it is the memory, or the processor.
var ErrVerify = errors.New("a sealed object does not open again: " +
	"nothing was stored; test this machine's memory before you trust its backups")

// SealerOptions are how a [Sealer] works. The zero value compresses at the
// default level and does not verify.
type SealerOptions struct {
	Compression Compression
	// Verify opens every object again, and recomputes its id, before it is
	// handed out.
	Verify bool
	// Rand is the source of nonces; nil is crypto/rand.Reader. Two objects
	// of the same session and id must not get the same nonce.
	Rand io.Reader
}

// A Sealer seals the objects of one session. It is not safe for concurrent
// use: each goroutine has its own, for the same session if need be. It keeps
// its buffers, up to twice the largest object sealed, and a compressor of 3 to
// 7 MiB, or 40 MiB at [CompressionMax].
type Sealer struct {
	keys    *Keys
	rows    map[object.Class]*object.Session
	secrets map[object.Class]*[32]byte
	session object.SessionID
	options SealerOptions

	encoder *zstd.Encoder // made by the first Seal that compresses
	buffer  []byte        // nonce ‖ plaintext, then ciphertext ‖ tag
	aad     []byte
	check   []byte // payload that verify gets back
}

// NewSealer returns a Sealer for the session that [Keys.NewSession] describes.
func (k *Keys) NewSealer(session object.SessionID, options SealerOptions) *Sealer {
	data, meta := k.NewSession(session, object.ClassData), k.NewSession(session, object.ClassMeta)
	dataSecret := k.derivedSecret(object.ClassData, 0, session)
	metaSecret := k.derivedSecret(object.ClassMeta, 0, session)
	return newSealer(k, session, options,
		map[object.Class]*object.Session{object.ClassData: &data, object.ClassMeta: &meta},
		map[object.Class]*[32]byte{object.ClassData: &dataSecret, object.ClassMeta: &metaSecret})
}

func newSealer(k *Keys, session object.SessionID, options SealerOptions,
	rows map[object.Class]*object.Session, secrets map[object.Class]*[32]byte) *Sealer {
	if options.Rand == nil {
		options.Rand = rand.Reader
	}
	return &Sealer{keys: k, rows: rows, secrets: secrets, session: session, options: options}
}

// Session returns the session that s seals for.
func (s *Sealer) Session() object.SessionID { return s.session }

// ID is [Keys.ID].
func (s *Sealer) ID(kind object.Kind, refs []object.ID, payload []byte) object.ID {
	return s.keys.ID(kind, refs, payload)
}

// Seal compresses, pads and encrypts an object. id is what [Sealer.ID] returns
// for the same kind, refs and payload; refs are distinct. Payloads are of 1 to
// [object.MaxPayload] bytes.
//
// The result's Bytes belong to s and hold until the next Seal; its Refs are
// the caller's slice. With Verify, an error that wraps [ErrVerify] says that
// the machine damaged the object.
func (s *Sealer) Seal(id object.ID, kind object.Kind, refs []object.ID, payload []byte) (object.Sealed, error) {
	if !kind.Valid() {
		return object.Sealed{}, fmt.Errorf("seal %s: unknown kind", kind)
	}
	if err := checkPayload(payload); err != nil {
		return object.Sealed{}, fmt.Errorf("seal %s %s: %w", kind, id, err)
	}
	o := object.Sealed{ID: id, Kind: kind, Session: s.session, Refs: refs}
	if err := s.seal(&o, payload); err != nil {
		return object.Sealed{}, fmt.Errorf("seal %s %s: %w", kind, id, err)
	}
	if s.options.Verify {
		if err := s.verify(&o); err != nil {
			return object.Sealed{}, err
		}
	}
	return o, nil
}

// seal fills in o.Bytes.
func (s *Sealer) seal(o *object.Sealed, payload []byte) error {
	s.reserve(len(payload))
	if _, err := io.ReadFull(s.options.Rand, s.buffer[:nonceSize]); err != nil {
		return fmt.Errorf("draw a nonce: %w", err)
	}
	plain, err := s.plain(s.buffer[nonceSize:nonceSize], payload)
	if err != nil {
		return err
	}
	nonce := s.buffer[:nonceSize:nonceSize]
	s.aad = appendAAD(s.aad[:0], s.keys.repo, o)
	aead := objectCipher(s.secrets[o.Kind.Class()], o.Kind, o.ID)
	sealed := aead.Seal(plain[:0], nonce, plain, s.aad)
	o.Bytes = s.buffer[:nonceSize+len(sealed)]
	return nil
}

// reserve makes the buffer large enough that nothing in seal moves it. A zstd
// frame of n bytes that do not compress takes n and 3 bytes per 128 KiB block.
func (s *Sealer) reserve(n int) {
	room := nonceSize + padme(plainHead+n) + n>>14 + 64 + tagSize
	s.buffer = slices.Grow(s.buffer[:0], room)[:room]
}

// plain appends the plaintext of payload to dst, which has room for it.
func (s *Sealer) plain(dst, payload []byte) ([]byte, error) {
	dst = dst[:plainHead]
	if s.options.Compression != CompressionOff {
		encoder, err := s.encoderFor(len(payload))
		if err != nil {
			return nil, err
		}
		if framed := encoder.EncodeAll(payload, dst); len(framed) < plainHead+len(payload) {
			return finishPlain(framed, codecZstd, s.keys.padding), nil
		}
	}
	return finishPlain(append(dst, payload...), codecRaw, s.keys.padding), nil
}

// encoderFor returns the encoder for n bytes. The window of a frame of one
// segment is its content, and above maxWindow readers refuse it; no object of
// the default parameters is that long, so that encoder is not kept.
func (s *Sealer) encoderFor(n int) (*zstd.Encoder, error) {
	if n > maxWindow {
		return newEncoder(s.options.Compression, false)
	}
	if s.encoder == nil {
		encoder, err := newEncoder(s.options.Compression, true)
		if err != nil {
			return nil, err
		}
		s.encoder = encoder
	}
	return s.encoder, nil
}

// verify opens o the way a reader will.
func (s *Sealer) verify(o *object.Sealed) error {
	payload, err := s.keys.Open(s.check[:0], *s.rows[o.Kind.Class()], o)
	if err != nil {
		return fmt.Errorf("%w (%v)", ErrVerify, err) // not ErrCorrupt: nothing stored is
	}
	s.check = payload
	return nil
}
