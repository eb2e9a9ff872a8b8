package seal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"sync"

	"bluesky/object"

	"github.com/zeebo/blake3"
)

// The labels of the hashes that are computed for every object, inode or name.
var (
	labelObject    = object.Label("object")
	labelInodeMap  = object.Label("inode map")
	labelDirectory = object.Label("directory")
)

// A hasherPool lends hashers keyed with *key: a hasher takes 11 KiB, far more
// than most of what is hashed.
type hasherPool struct {
	key  *[32]byte
	pool sync.Pool
}

// get returns a hasher that has taken label. The caller hands it back to put.
func (p *hasherPool) get(label string) *blake3.Hasher {
	h, ok := p.pool.Get().(*blake3.Hasher)
	if !ok {
		h = newKeyed(p.key)
	}
	h.Reset()
	h.WriteString(label)
	return h
}

func (p *hasherPool) put(h *blake3.Hasher) { p.pool.Put(h) }

func newKeyed(key *[32]byte) *blake3.Hasher {
	h, err := blake3.NewKeyed(key[:])
	if err != nil {
		panic(err) // only for keys of another length
	}
	return h
}

// ID computes the id of the object of that kind, refs and payload.
// docs/format.md, "Objects".
func (k *Keys) ID(kind object.Kind, refs []object.ID, payload []byte) object.ID {
	h := k.idHashers.get(labelObject)
	defer k.idHashers.put(h)
	var head [8]byte
	head[0] = byte(kind)
	binary.LittleEndian.PutUint32(head[1:], uint32(len(refs)))
	h.Write(head[:5])
	for i := range refs {
		h.Write(refs[i][:])
	}
	binary.LittleEndian.PutUint64(head[:], uint64(len(payload)))
	h.Write(head[:])
	h.Write(payload)
	var id object.ID
	h.Sum(id[:0])
	return id
}

// MapHash returns the 32 bits that decide whether number n ends its node of
// the inode map at that level. docs/format.md, "imap".
func (k *Keys) MapHash(level uint8, n uint64) uint32 {
	h := k.mapHashers.get(labelInodeMap)
	defer k.mapHashers.put(h)
	var x [9]byte
	x[0] = level
	binary.LittleEndian.PutUint64(x[1:], n)
	h.Write(x[:])
	var sum [32]byte
	h.Sum(sum[:0])
	return binary.LittleEndian.Uint32(sum[:])
}

// NameHash returns the hash whose bits split a large directory.
// docs/format.md, "dir".
func (k *Keys) NameHash(name []byte) [32]byte {
	h := k.mapHashers.get(labelDirectory)
	defer k.mapHashers.put(h)
	h.Write(name)
	var sum [32]byte
	h.Sum(sum[:0])
	return sum
}

// ContentHash returns the content hash of an inode whose content is parts, one
// after the other. docs/format.md, "inodes", key 20.
func (k *Keys) ContentHash(parts ...[]byte) [16]byte {
	length := 0
	for _, p := range parts {
		length += len(p)
	}
	c := k.NewContentHasher(uint64(length))
	for _, p := range parts {
		c.Write(p)
	}
	return c.sum()
}

// A ContentHasher computes a content hash from content that arrives in parts.
// It is not safe for concurrent use.
type ContentHasher struct {
	h    *blake3.Hasher
	left uint64 // bytes still to come, modulo 2^64
}

// NewContentHasher begins the hash of a content of length bytes: the length
// stands before the content and so must be known first.
func (k *Keys) NewContentHasher(length uint64) *ContentHasher {
	h := newKeyed(&k.id)
	h.WriteString(object.Label("content"))
	h.Write(binary.LittleEndian.AppendUint64(nil, length))
	return &ContentHasher{h: h, left: length}
}

// Write takes the next part. It never returns an error.
func (c *ContentHasher) Write(p []byte) (int, error) {
	c.left -= uint64(len(p))
	return c.h.Write(p)
}

// Sum returns the hash. It is an error to ask for it before or after exactly
// the announced length was written.
func (c *ContentHasher) Sum() ([16]byte, error) {
	if c.left != 0 {
		return [16]byte{}, errors.New("content hash: the content is not as long as was announced")
	}
	return c.sum(), nil
}

func (c *ContentHasher) sum() [16]byte {
	var full [32]byte
	c.h.Sum(full[:0])
	return [16]byte(full[:16])
}

// Series returns the series of backups of paths on host. The order of paths
// and repetitions among them make no difference; the caller makes them
// absolute. docs/format.md, "Derivation".
func (k *Keys) Series(host []byte, paths [][]byte) [16]byte {
	paths = slices.Clone(paths)
	slices.SortFunc(paths, bytes.Compare)
	paths = slices.CompactFunc(paths, bytes.Equal)
	x := appendBytes(nil, host)
	x = binary.LittleEndian.AppendUint32(x, uint32(len(paths)))
	for _, p := range paths {
		x = appendBytes(x, p)
	}
	return k.seriesHash("series", x)
}

// NamedSeries returns the series that a user gave a name.
func (k *Keys) NamedSeries(name string) [16]byte {
	return k.seriesHash("named series", appendBytes(nil, []byte(name)))
}

func (k *Keys) seriesHash(use string, x []byte) [16]byte {
	h := newKeyed(&k.series)
	h.WriteString(object.Label(use))
	h.Write(x)
	var full [32]byte
	h.Sum(full[:0])
	return [16]byte(full[:16])
}

// Local computes a keyed hash, of data, for what stays on this machine: nothing
// in the bucket has one. It hides data and vouches for it, per use, which is a
// label of docs/format.md, "Conventions".
func (k *Keys) Local(use string, data []byte) [16]byte {
	h := k.localHashers.get(object.Label(use))
	defer k.localHashers.put(h)
	h.Write(data)
	var full [32]byte
	h.Sum(full[:0])
	return [16]byte(full[:16])
}

// appendBytes appends u64(len(s)) and s.
func appendBytes(b, s []byte) []byte {
	b = binary.LittleEndian.AppendUint64(b, uint64(len(s)))
	return append(b, s...)
}
