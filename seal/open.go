package seal

import (
	"fmt"

	"bluesky/object"

	"github.com/klauspost/compress/zstd"
)

// An opener is what opening one object takes; Keys keeps them in a pool.
type opener struct {
	decoder *zstd.Decoder
	plain   []byte
	aad     []byte
}

// maxKept bounds the buffer that a pooled opener keeps: enough for a chunk of
// the largest size.
const maxKept = 9 << 20

func (k *Keys) opener() (*opener, error) {
	if w, ok := k.openers.Get().(*opener); ok {
		return w, nil
	}
	decoder, err := newDecoder()
	if err != nil {
		return nil, err
	}
	return &opener{decoder: decoder}, nil
}

func (k *Keys) release(w *opener) {
	if cap(w.plain) > maxKept {
		w.plain = nil
	}
	k.openers.Put(w)
}

// Open decrypts o, whose session session describes, appends its payload to dst
// and returns the extended slice. It keeps nothing of o; o.Bytes and dst must
// not overlap. Open is safe for concurrent use.
//
// The payload is returned only if o.ID is the id of o.Kind, o.Refs and the
// payload. Otherwise the error names the object and wraps [object.ErrCorrupt],
// or [object.ErrVersion] for a session of a newer type.
func (k *Keys) Open(dst []byte, session object.Session, o *object.Sealed) ([]byte, error) {
	payload, err := k.open(dst, &session, o)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", o.Kind, o.ID, err)
	}
	return payload, nil
}

func (k *Keys) open(dst []byte, session *object.Session, o *object.Sealed) ([]byte, error) {
	if err := checkSealed(session, o); err != nil {
		return nil, err
	}
	secret, err := k.secret(session)
	if err != nil {
		return nil, err
	}
	w, err := k.opener()
	if err != nil {
		return nil, err
	}
	defer k.release(w)

	w.aad = appendAAD(w.aad[:0], k.repo, o)
	aead := objectCipher(&secret, o.Kind, o.ID)
	w.plain, err = aead.Open(w.plain[:0], o.Bytes[:nonceSize], o.Bytes[nonceSize:], w.aad)
	if err != nil {
		return nil, fmt.Errorf("does not decrypt: %w", object.ErrCorrupt)
	}
	start := len(dst)
	dst, err = w.payload(dst, k.padding)
	if err != nil {
		return nil, err
	}
	if k.ID(o.Kind, o.Refs, dst[start:]) != o.ID {
		return nil, fmt.Errorf("holds another content than its id says: %w", object.ErrCorrupt)
	}
	return dst, nil
}

// checkSealed checks what can be checked without a key.
func checkSealed(session *object.Session, o *object.Sealed) error {
	switch {
	case !o.Kind.Valid():
		return fmt.Errorf("unknown kind: %w", object.ErrCorrupt)
	case len(o.Bytes) < minSealed || len(o.Bytes) > object.MaxSealed:
		return fmt.Errorf("%d sealed bytes: %w", len(o.Bytes), object.ErrCorrupt)
	case o.Session != session.ID:
		return fmt.Errorf("sealed in session %s, not %s: %w", o.Session, session.ID, object.ErrCorrupt)
	case o.Kind.Class() != session.Class:
		return fmt.Errorf("in a session of class %s: %w", session.Class, object.ErrCorrupt)
	}
	return nil
}

// payload appends the payload in w.plain to dst.
func (w *opener) payload(dst []byte, padding Padding) ([]byte, error) {
	codec, data, err := parsePlain(w.plain, padding)
	if err != nil {
		return nil, err
	}
	if codec == codecZstd {
		return decompress(w.decoder, dst, data)
	}
	return append(dst, data...), nil
}
