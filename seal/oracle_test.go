package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"testing"

	"bluesky/object"

	"github.com/zeebo/blake3"
)

// The oracle is docs/format.md written down a second time, slowly and with
// nothing of the package's own code, so that a label or field that moves on
// both sides of the package at once is still seen.
type oracle struct {
	root [32]byte
	repo object.RepositoryID
}

func (o oracle) key(use string, x ...byte) []byte { return oracleKDF(o.root[:], use, x) }

func oracleKDF(secret []byte, use string, x []byte) []byte {
	out, err := hkdf.Expand(sha256.New, secret, "bluesky v1 "+use+"\x00"+string(x), 32)
	if err != nil {
		panic(err)
	}
	return out
}

func oracleKeyedHash(key []byte, use string, x []byte) []byte {
	h, err := blake3.NewKeyed(key)
	if err != nil {
		panic(err)
	}
	h.Write([]byte("bluesky v1 " + use + "\x00"))
	h.Write(x)
	return h.Sum(nil)
}

func oracleRefs(refs []object.ID) []byte {
	b := binary.LittleEndian.AppendUint32(nil, uint32(len(refs)))
	for _, r := range refs {
		b = append(b, r[:]...)
	}
	return b
}

func (o oracle) id(kind object.Kind, refs []object.ID, payload []byte) object.ID {
	x := append([]byte{byte(kind)}, oracleRefs(refs)...)
	x = binary.LittleEndian.AppendUint64(x, uint64(len(payload)))
	return object.ID(oracleKeyedHash(o.key("id key"), "object", append(x, payload...)))
}

func (o oracle) sessionSecret(s object.Session) []byte {
	use := "meta key"
	if s.Class == 1 {
		use = "data key"
	}
	x := binary.LittleEndian.AppendUint32(nil, s.Epoch)
	return oracleKDF(o.key(use), "session", append(x, s.ID[:]...))
}

// aead returns the cipher and AAD of s under a session secret.
func (o oracle) aead(secret []byte, s object.Sealed) (cipher.AEAD, []byte) {
	block, err := aes.NewCipher(oracleKDF(secret, "object key", append([]byte{byte(s.Kind)}, s.ID[:]...)))
	if err != nil {
		panic(err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic(err)
	}
	aad := append([]byte("bluesky v1 seal\x00"), 1, byte(s.Kind))
	aad = append(aad, o.repo[:]...)
	aad = append(aad, s.Session[:]...)
	aad = append(aad, s.ID[:]...)
	return aead, append(aad, oracleRefs(s.Refs)...)
}

// seal encrypts any plaintext at all as the object that s names.
func (o oracle) seal(session object.Session, s object.Sealed, nonce [12]byte, plain []byte) object.Sealed {
	aead, aad := o.aead(o.sessionSecret(session), s)
	s.Bytes = aead.Seal(nonce[:], nonce[:], plain, aad)
	return s
}

// open returns the plaintext of s.
func (o oracle) open(t testing.TB, session object.Session, s object.Sealed) []byte {
	t.Helper()
	aead, aad := o.aead(o.sessionSecret(session), s)
	plain, err := aead.Open(nil, s.Bytes[:12], s.Bytes[12:], aad)
	if err != nil {
		t.Fatalf("oracle: %v", err)
	}
	return plain
}

// oraclePadme is the definition in floating point, as the paper gives it.
func oraclePadme(l int) int {
	if l < 2 {
		return l
	}
	e := math.Floor(math.Log2(float64(l)))
	s := math.Floor(math.Log2(e)) + 1
	step := int(math.Pow(2, e-s))
	return (l + step - 1) / step * step
}

// frame lays out a plaintext with Padmé padding.
func oracleFrame(codec byte, data []byte) []byte {
	b := binary.LittleEndian.AppendUint32([]byte{codec}, uint32(len(data)))
	b = append(b, data...)
	return append(b, make([]byte, oraclePadme(len(b))-len(b))...)
}

// What most tests work with: a repository, its keys, and a session.
var (
	testRoot    = [32]byte([]byte("\x8d\x01kR7!q\xf0\x55zP\xe3\x1fw@\x9cTb\xaa\x02Vn\xd1\x33xG\xbe\x40Lu\xc7\x0e"))
	testRepo    = object.RepositoryID([]byte("test repository!"))
	testSession = object.SessionID([]byte("a test session.."))
	testOracle  = oracle{testRoot, testRepo}
)

func testKeys(t testing.TB) *Keys {
	t.Helper()
	k, err := NewKeys(testRoot, testRepo, PaddingPadme)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// newRand returns the same random bytes for the same seed, for ever.
func newRand(seed byte) *rand.ChaCha8 { return rand.NewChaCha8([32]byte{seed}) }

func randomBytes(seed byte, n int) []byte {
	b := make([]byte, n)
	newRand(seed).Read(b)
	return b
}

// textBytes returns n bytes that compress about as prose does.
func textBytes(seed byte, n int) []byte {
	words := []string{"the ", "segment ", "of ", "a ", "repository ", "holds ", "sealed ", "objects, ",
		"func ", "return ", "if err != nil {\n", "}\n", "snapshot ", "inode ", "0x", "1970-01-01 "}
	r := rand.New(newRand(seed))
	b := make([]byte, 0, n+16)
	for len(b) < n {
		b = append(b, words[r.IntN(len(words))]...)
		if r.IntN(4) == 0 {
			b = binary.AppendUvarint(b, r.Uint64N(1<<20))
		}
	}
	return b[:n]
}

func testRefs(n int) []object.ID {
	refs := make([]object.ID, n)
	for i := range refs {
		copy(refs[i][:], randomBytes(byte(i), 32))
	}
	return refs
}
