package seal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"testing/cryptotest"

	"bluesky/object"

	"github.com/klauspost/compress/zstd"
)

// An objectVector is a sealed object with all that is needed to open it.
type objectVector struct {
	About   string `json:",omitempty"`
	Root    hexBytes
	Repo    hexBytes
	Padding Padding
	Session sessionVector
	ID      hexBytes
	Kind    object.Kind
	Refs    []hexBytes `json:",omitempty"`
	Sealed  hexBytes
	Payload hexBytes `json:",omitempty"` // what it opens to, if it does
}

type sessionVector struct {
	ID    hexBytes
	Class object.Class
	Type  object.SessionType
	Epoch uint32
	Wrap  hexBytes `json:",omitempty"`
}

func (v *objectVector) keys(t testing.TB) *Keys {
	t.Helper()
	k, err := NewKeys([32]byte(v.Root), object.RepositoryID(v.Repo), v.Padding)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func (v *objectVector) object() (object.Session, object.Sealed) {
	s := object.Session{ID: object.SessionID(v.Session.ID), Class: v.Session.Class, Type: v.Session.Type,
		Epoch: v.Session.Epoch, Wrap: v.Session.Wrap}
	o := object.Sealed{ID: object.ID(v.ID), Kind: v.Kind, Session: s.ID, Bytes: v.Sealed}
	for _, r := range v.Refs {
		o.Refs = append(o.Refs, object.ID(r))
	}
	return s, o
}

func newObjectVector(about string, s object.Session, o object.Sealed, padding Padding, payload []byte) objectVector {
	v := objectVector{About: about, Root: testRoot[:], Repo: testRepo[:], Padding: padding,
		Session: sessionVector{s.ID[:], s.Class, s.Type, s.Epoch, s.Wrap},
		ID:      o.ID[:], Kind: o.Kind, Sealed: slices.Clone(o.Bytes), Payload: payload}
	for _, r := range o.Refs {
		v.Refs = append(v.Refs, r[:])
	}
	return v
}

func TestObjectVectors(t *testing.T) {
	if *update {
		updateObjectVectors(t)
	}
	for _, name := range vectorFiles(t, "object", ".json") {
		t.Run(filepath.Base(name), func(t *testing.T) {
			var v objectVector
			readJSON(t, name, &v)
			k := v.keys(t)
			session, o := v.object()
			got, err := k.Open(nil, session, &o)
			if want := vectorClass(t, name); !errors.Is(err, want) {
				t.Fatalf("got %v, want %v", err, want)
			}
			if err == nil {
				checkValidObject(t, k, session, o, got, v.Payload)
			}
		})
	}
}

// checkValidObject holds a valid vector to its payload and id, and, where no
// compressor had a say, to the very bytes.
func checkValidObject(t *testing.T, k *Keys, session object.Session, o object.Sealed, got, want []byte) {
	if !bytes.Equal(got, want) {
		t.Errorf("got %x, want %x", got, want)
	}
	if id := k.ID(o.Kind, o.Refs, got); id != o.ID {
		t.Errorf("id %v, want %v", id, o.ID)
	}
	if session.Type != object.SessionDerived || session.Epoch != 0 {
		return
	}
	plain := testOracle.open(t, session, o)
	if plain[0] != codecRaw {
		return
	}
	s := k.NewSealer(session.ID, SealerOptions{Compression: CompressionOff, Rand: bytes.NewReader(o.Bytes[:nonceSize])})
	again, err := s.Seal(o.ID, o.Kind, o.Refs, got)
	if err != nil || !bytes.Equal(again.Bytes, o.Bytes) {
		t.Errorf("sealed again: %x, %v, want %x", again.Bytes, err, o.Bytes)
	}
}

func updateObjectVectors(t *testing.T) {
	k := testKeys(t)
	for i, kind := range allKinds {
		refs := testRefs(i)
		if kind == object.KindBlock {
			refs = nil
		}
		payload := append([]byte("payload of a "+kind.String()+" "), randomBytes(byte(i), 40+i)...)
		o := mustSeal(t, k, kind, refs, payload, SealerOptions{Compression: CompressionOff, Rand: newRand(byte(i))})
		writeJSON(t, "valid-object-"+kind.String(),
			newObjectVector("raw", k.NewSession(testSession, kind.Class()), o, PaddingPadme, payload))
	}
	updateOddObjects(t, k)
	updateHPKEObject(t, k)
	updateCorruptObjects(t, k)
}

func updateOddObjects(t *testing.T, k *Keys) {
	data, meta := k.NewSession(testSession, object.ClassData), k.NewSession(testSession, object.ClassMeta)
	text := textBytes(1, 2000)
	for _, level := range []Compression{CompressionFastest, CompressionMax} {
		o := mustSeal(t, k, object.KindBlock, nil, text, SealerOptions{Compression: level, Rand: newRand(40)})
		writeJSON(t, "valid-object-zstd-"+level.String(), newObjectVector("zstd, level "+level.String(), data, o, PaddingPadme, text))
	}
	o := mustSeal(t, k, object.KindBlock, nil, []byte{0}, SealerOptions{Rand: newRand(41)})
	writeJSON(t, "valid-object-one-byte", newObjectVector("the smallest object", data, o, PaddingPadme, []byte{0}))

	none, err := NewKeys(testRoot, testRepo, PaddingNone)
	if err != nil {
		t.Fatal(err)
	}
	payload := randomBytes(42, 300)
	o = mustSeal(t, none, object.KindBlock, nil, payload, SealerOptions{Rand: newRand(42)})
	writeJSON(t, "valid-object-no-padding", newObjectVector("padding none", data, o, PaddingNone, payload))

	meta.Epoch = 0x01020304
	o = object.Sealed{ID: k.ID(object.KindDir, nil, payload), Kind: object.KindDir, Session: testSession}
	o = testOracle.seal(meta, o, [12]byte{1}, oracleFrame(codecRaw, payload))
	writeJSON(t, "valid-object-epoch", newObjectVector("a session of a later epoch", meta, o, PaddingPadme, payload))
}

func updateHPKEObject(t *testing.T, k *Keys) {
	cryptotest.SetGlobalRandom(t, 1)
	row := mustWrap(t, k, object.ClassMeta, 0)
	secret := testSecret
	s := newSealer(k, testSession, SealerOptions{Compression: CompressionOff, Rand: newRand(43)},
		map[object.Class]*object.Session{object.ClassMeta: &row}, map[object.Class]*[32]byte{object.ClassMeta: &secret})
	payload := []byte("sealed by a machine that cannot read")
	o, err := s.Seal(s.ID(object.KindList, nil, payload), object.KindList, nil, payload)
	if err != nil {
		t.Fatal(err)
	}
	writeJSON(t, "valid-object-hpke", newObjectVector("an HPKE session", row, o, PaddingPadme, payload))

	row.Wrap[700] ^= 1
	writeJSON(t, "corrupt-object-hpke-wrap", newObjectVector("a bit of the encapsulated key flipped", row, o, PaddingPadme, nil))
	row.Wrap[700] ^= 1
	row.Type = 3
	writeJSON(t, "version-object-session-type", newObjectVector("session type 3", row, o, PaddingPadme, nil))
}

// updateCorruptObjects writes objects that authenticate and hold what no writer
// makes, and some that do not authenticate.
func updateCorruptObjects(t *testing.T, k *Keys) {
	session := k.NewSession(testSession, object.ClassMeta)
	write := func(name, about string, s object.Session, o object.Sealed) {
		writeJSON(t, "corrupt-object-"+name, newObjectVector(about, s, o, PaddingPadme, nil))
	}
	for _, c := range corruptPlaintexts(t) {
		o := object.Sealed{ID: k.ID(object.KindList, nil, c.payload), Kind: object.KindList, Session: testSession}
		write(c.name, c.about, session, testOracle.seal(session, o, [12]byte{2}, c.plain))
	}
	valid := func() object.Sealed {
		return mustSeal(t, k, object.KindList, testRefs(2), []byte("a payload"), SealerOptions{Rand: newRand(44)})
	}
	o := valid()
	o.ID[0] ^= 1
	write("id", "a bit of the id flipped", session, o)
	o = valid()
	o.Refs[1][31] ^= 1
	write("ref", "a bit of a ref flipped", session, o)
	o = valid()
	o.Kind = object.KindImap
	write("kind", "another kind", session, o)
	o = valid()
	o.Bytes = o.Bytes[:len(o.Bytes)-1]
	write("cut", "the last byte missing", session, o)
	o = valid()
	o.Bytes[len(o.Bytes)-1] ^= 1
	write("tag", "a bit of the tag flipped", session, o)
	o, other := valid(), session
	other.ID[0] ^= 1
	o.Session = other.ID
	write("session", "in another session", other, o)
	o = object.Sealed{ID: k.ID(object.KindList, nil, []byte("this")), Kind: object.KindList, Session: testSession}
	write("payload", "another payload than the id's", session,
		testOracle.seal(session, o, [12]byte{3}, oracleFrame(codecRaw, []byte("that"))))
}

type corruptPlaintext struct {
	name, about    string
	plain, payload []byte
}

// corruptPlaintexts are plaintexts that each break one rule, with the payload
// that they would otherwise hold.
func corruptPlaintexts(t testing.TB) []corruptPlaintext {
	payload := append(make([]byte, 500), randomBytes(45, 63)...)
	raw := func() []byte { return oracleFrame(codecRaw, payload) } // 5+563 = 568, padded to 576
	edit := func(b []byte, i int, to byte) []byte { b[i] = to; return b }
	zeros := make([]byte, 5000)
	encode := func(payload []byte, options ...zstd.EOption) []byte {
		options = append([]zstd.EOption{zstd.WithEncoderCRC(false), zstd.WithSingleSegment(true)}, options...)
		e, err := zstd.NewWriter(nil, options...)
		if err != nil {
			t.Fatal(err)
		}
		return e.EncodeAll(payload, nil)
	}
	good := encode(zeros)
	var stream bytes.Buffer
	e, err := zstd.NewWriter(&stream, zstd.WithEncoderCRC(false))
	if err != nil {
		t.Fatal(err)
	}
	for _, half := range [][]byte{zeros[:2500], zeros[2500:]} { // in two writes, so the size is not known
		if _, err := e.Write(half); err != nil {
			t.Fatal(err)
		}
		if err := e.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	random := randomBytes(46, 700)
	skippable := append([]byte{0x50, 0x2a, 0x4d, 0x18, 2, 0, 0, 0}, 1, 2)
	return []corruptPlaintext{
		{"codec", "codec 2", edit(raw(), 0, 2), payload},
		{"padding-not-zero", "the last byte of the padding is 1", edit(raw(), len(raw())-1, 1), payload},
		{"padding-short", "a byte less than Padmé", raw()[:len(raw())-1], payload},
		{"padding-long", "a byte more than Padmé", append(raw(), 0), payload},
		{"length-beyond", "the length reaches beyond the end", edit(raw(), 2, 3), payload},
		{"length-huge", "a length of 2^32-1", append([]byte{0, 255, 255, 255, 255}, raw()[5:]...), payload},
		{"length-zero", "no data", make([]byte, 6), []byte{}},
		{"length-zero-padded", "no data and two bytes of padding", make([]byte, 7), []byte{}},
		{"zstd-cut", "a zstd frame that ends early", oracleFrame(1, good[:len(good)-1]), zeros},
		{"zstd-garbage", "codec 1 and no zstd frame", oracleFrame(1, random), random},
		{"zstd-two-frames", "two zstd frames", oracleFrame(1, append(encode(zeros[:2500]), encode(zeros[:2500])...)), zeros},
		{"zstd-then-skippable", "a skippable frame behind the frame", oracleFrame(1, append(slices.Clone(good), skippable...)), zeros},
		{"zstd-skippable", "a skippable frame alone", oracleFrame(1, skippable), []byte{}},
		{"zstd-no-size", "a zstd frame without content size", oracleFrame(1, stream.Bytes()), zeros},
		{"zstd-checksum", "a zstd frame with a checksum", oracleFrame(1, encode(zeros, zstd.WithEncoderCRC(true))), zeros},
		{"zstd-longer", "a zstd frame longer than its content", oracleFrame(1, encode(random)), random},
		{"zstd-window", "a zstd window of 16 MiB", oracleFrame(1, hugeWindowFrame(16<<20)), zeros},
		{"zstd-content", "a zstd frame that says it holds 16 MiB and a byte", oracleFrame(1, rleFrame(object.MaxPayload+1)), zeros},
		{"zstd-size-lies", "a zstd frame that holds less than it says", oracleFrame(1, rleFrame(5001)), zeros},
		{"zstd-dictionary", "a zstd frame that names a dictionary", oracleFrame(1, dictionaryFrame()), zeros},
	}
}

// rleFrame is a frame that says that it holds n bytes, in one block of 5,000.
// RFC 8878, section 3.1.1.
func rleFrame(n uint32) []byte {
	b := append(binary.LittleEndian.AppendUint32(nil, 0xfd2fb528), 0b10_1_0_0_0_00) // 4-byte size, single segment
	b = binary.LittleEndian.AppendUint32(b, n)
	return append(b, rleBlock(5000)...)
}

// rleBlock is a last block of n zeros.
func rleBlock(n uint32) []byte {
	head := n<<3 | 1<<1 | 1
	return []byte{byte(head), byte(head >> 8), byte(head >> 16), 0}
}

// hugeWindowFrame is a frame of 5,000 zeros with a window of that many bytes, a power of two.
func hugeWindowFrame(window int) []byte {
	log := 0
	for 1<<log < window {
		log++
	}
	b := append(binary.LittleEndian.AppendUint32(nil, 0xfd2fb528), 0b10_0_0_0_0_00, byte(log-10)<<3)
	b = binary.LittleEndian.AppendUint32(b, 5000)
	return append(b, rleBlock(5000)...)
}

func dictionaryFrame() []byte {
	b := append(binary.LittleEndian.AppendUint32(nil, 0xfd2fb528), 0b10_1_0_0_0_01, 7) // dictionary 7
	b = binary.LittleEndian.AppendUint32(b, 5000)
	return append(b, rleBlock(5000)...)
}

// The rules are each found for what they are: the same plaintexts, with what
// is wrong put right, open. Here that is the one that the others are made of.
func TestCorruptPlaintextsHaveAValidSibling(t *testing.T) {
	k := testKeys(t)
	session := k.NewSession(testSession, object.ClassMeta)
	zeros := make([]byte, 5000)
	for name, plain := range map[string][]byte{
		"rle frame":    oracleFrame(1, rleFrame(5000)),
		"window 8 MiB": oracleFrame(1, hugeWindowFrame(8<<20)),
	} {
		o := object.Sealed{ID: k.ID(object.KindList, nil, zeros), Kind: object.KindList, Session: testSession}
		o = testOracle.seal(session, o, [12]byte{2}, plain)
		if got, err := k.Open(nil, session, &o); err != nil || !bytes.Equal(got, zeros) {
			t.Errorf("%s: got %d bytes, %v", name, len(got), err)
		}
	}
}

func TestPaddedLengths(t *testing.T) {
	var b bytes.Buffer
	for _, l := range []int{5, 6, 7, 8, 9, 12, 13, 15, 16, 17, 31, 33, 100, 127, 128, 129, 255, 257, 1000, 1023, 1025,
		4095, 4097, 65_535, 65_537, 100_000, 1 << 20, 1<<20 + 1, 8<<20 + 5, object.MaxPayload, object.MaxPayload + plainHead} {
		fmt.Fprintf(&b, "%d %d\n", l, padme(l))
	}
	if *update {
		writeVector(t, "padme.txt", b.Bytes())
	}
	checkFile(t, "padme.txt", b.Bytes())
	for l := range 1 << 17 {
		if got, want := padme(l), oraclePadme(l); got != want || padme(got) != got {
			t.Fatalf("padme(%d) = %d, want %d; of that: %d", l, got, want, padme(got))
		}
	}
	if got := nonceSize + padme(plainHead+object.MaxPayload) + tagSize; got > object.MaxSealed {
		t.Errorf("the largest object takes %d bytes, more than %d", got, object.MaxSealed)
	}
}
