package seal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"

	"bluesky/object"
)

var allKinds = []object.Kind{object.KindBlock, object.KindList, object.KindDir,
	object.KindInodes, object.KindImap, object.KindSnapshot}

var allLevels = []Compression{CompressionOff, CompressionFastest, CompressionAuto, CompressionBetter, CompressionMax}

// mustSeal seals with a sealer of its own, so the result is the caller's.
func mustSeal(t testing.TB, k *Keys, kind object.Kind, refs []object.ID, payload []byte, options SealerOptions) object.Sealed {
	t.Helper()
	s := k.NewSealer(testSession, options)
	o, err := s.Seal(s.ID(kind, refs, payload), kind, refs, payload)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func TestSealOpenRoundTrip(t *testing.T) {
	for _, padding := range []Padding{PaddingPadme, PaddingNone} {
		k, err := NewKeys(testRoot, testRepo, padding)
		if err != nil {
			t.Fatal(err)
		}
		for _, level := range allLevels {
			s := k.NewSealer(testSession, SealerOptions{Compression: level, Verify: true, Rand: newRand(1)})
			for i, n := range []int{1, 2, 27, 255, 256, 257, 1023, 1024, 1025, 4096, 65_536, 131_072, 131_073, 300_000} {
				kind := allKinds[i%len(allKinds)]
				for name, payload := range map[string][]byte{
					"text": textBytes(4, n), "random": randomBytes(5, n), "zeros": make([]byte, n)} {
					t.Run(fmt.Sprintf("%s/%s/%s/%d", padding, level, name, n), func(t *testing.T) {
						roundTrip(t, k, s, kind, testRefs(i%3), payload)
					})
				}
			}
		}
	}
}

func roundTrip(t *testing.T, k *Keys, s *Sealer, kind object.Kind, refs []object.ID, payload []byte) {
	o, err := s.Seal(s.ID(kind, refs, payload), kind, refs, payload)
	if err != nil {
		t.Fatal(err)
	}
	plainSize := len(o.Bytes) - nonceSize - tagSize
	if bound := k.padding.padded(plainHead + len(payload)); plainSize > bound {
		t.Errorf("%d bytes of plaintext, want at most the raw length, %d", plainSize, bound)
	}
	if k.padding == PaddingPadme && plainSize != oraclePadme(plainSize) {
		t.Errorf("%d bytes of plaintext are no Padmé length", plainSize)
	}
	got, err := k.Open([]byte("in front "), k.NewSession(testSession, kind.Class()), &o)
	if err != nil {
		t.Fatal(err)
	}
	if want := append([]byte("in front "), payload...); !bytes.Equal(got, want) {
		t.Errorf("got %d bytes, want %d, or others", len(got), len(want))
	}
}

func TestSealLargestPayload(t *testing.T) {
	k := testKeys(t)
	for name, payload := range map[string][]byte{
		"random": randomBytes(6, object.MaxPayload),
		"zeros":  make([]byte, object.MaxPayload),
		"text":   textBytes(7, maxWindow+1),
		"window": textBytes(7, maxWindow),
	} {
		t.Run(name, func(t *testing.T) {
			o := mustSeal(t, k, object.KindBlock, nil, payload, SealerOptions{Compression: CompressionFastest, Verify: true})
			if len(o.Bytes) > object.MaxSealed {
				t.Errorf("%d sealed bytes, more than %d", len(o.Bytes), object.MaxSealed)
			}
			// dst is not empty: the decoder's own limit must not count it.
			front := make([]byte, 1<<20)
			got, err := k.Open(front, k.NewSession(testSession, object.ClassData), &o)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got[len(front):], payload) {
				t.Error("another payload came back")
			}
		})
	}
}

func TestSealRefuses(t *testing.T) {
	k := testKeys(t)
	for _, tt := range []struct {
		name    string
		kind    object.Kind
		payload []byte
		options SealerOptions
	}{
		{"empty payload", object.KindBlock, nil, SealerOptions{}},
		{"payload too long", object.KindBlock, make([]byte, object.MaxPayload+1), SealerOptions{}},
		{"kind 0", 0, []byte("x"), SealerOptions{}},
		{"kind 7", 7, []byte("x"), SealerOptions{}},
		{"unknown level", object.KindBlock, []byte("x"), SealerOptions{Compression: 99}},
		{"source of nonces dry", object.KindBlock, []byte("x"), SealerOptions{Rand: bytes.NewReader(make([]byte, 11))}},
	} {
		s := k.NewSealer(testSession, tt.options)
		if o, err := s.Seal(object.ID{1}, tt.kind, nil, tt.payload); err == nil {
			t.Errorf("%s: sealed %d bytes", tt.name, len(o.Bytes))
		}
	}
}

// Reading what the oracle makes and making what the oracle reads: the bytes are
// those of docs/format.md and not merely those that this package agrees on
// with itself.
func TestSealAndOracleAgree(t *testing.T) {
	k := testKeys(t)
	for _, kind := range allKinds {
		refs, payload := testRefs(3), randomBytes(8, 100)
		session := k.NewSession(testSession, kind.Class())
		o := mustSeal(t, k, kind, refs, payload, SealerOptions{Rand: newRand(2)})
		if got, want := testOracle.open(t, session, o), oracleFrame(0, payload); !bytes.Equal(got, want) {
			t.Errorf("%s: plaintext %x, want %x", kind, got, want)
		}
		again := testOracle.seal(session, o, [12]byte(randomBytes(2, 12)), oracleFrame(0, payload))
		if !bytes.Equal(again.Bytes, o.Bytes) {
			t.Errorf("%s: sealed %x, want %x", kind, o.Bytes, again.Bytes)
		}
	}
	payload := make([]byte, 5000)
	o := mustSeal(t, k, object.KindBlock, nil, payload, SealerOptions{})
	plain := testOracle.open(t, k.NewSession(testSession, object.ClassData), o)
	if plain[0] != 1 || len(plain) > 100 {
		t.Errorf("5,000 zeros: codec %d, %d bytes", plain[0], len(plain))
	}
}

func TestNoncesAreFresh(t *testing.T) {
	k := testKeys(t)
	s := k.NewSealer(testSession, SealerOptions{})
	seen := map[[12]byte]bool{}
	id := s.ID(object.KindBlock, nil, []byte("x"))
	for range 100 {
		o, err := s.Seal(id, object.KindBlock, nil, []byte("x"))
		if err != nil {
			t.Fatal(err)
		}
		seen[[12]byte(o.Bytes)] = true
	}
	if len(seen) != 100 {
		t.Errorf("100 objects have %d nonces", len(seen))
	}
}

func TestVerifyFindsDamage(t *testing.T) {
	k := testKeys(t)
	payload := []byte("payload")
	wrong := k.ID(object.KindBlock, nil, []byte("paylobd")) // a bit flipped between ID and Seal
	_, err := k.NewSealer(testSession, SealerOptions{Verify: true}).Seal(wrong, object.KindBlock, nil, payload)
	if !errors.Is(err, ErrVerify) {
		t.Errorf("payload flipped: got %v, want ErrVerify", err)
	}
	if errors.Is(err, object.ErrCorrupt) {
		t.Errorf("%v: nothing stored is corrupt", err)
	}

	s := k.NewSealer(testSession, SealerOptions{Verify: true})
	s.secrets[object.ClassData][3] ^= 4 // a bit flipped in the session secret
	id := s.ID(object.KindBlock, nil, payload)
	if _, err := s.Seal(id, object.KindBlock, nil, payload); !errors.Is(err, ErrVerify) {
		t.Errorf("secret flipped: got %v, want ErrVerify", err)
	}
	if _, err := s.Seal(s.ID(object.KindList, nil, payload), object.KindList, nil, payload); err != nil {
		t.Errorf("the other class: %v", err)
	}
	if _, err := k.NewSealer(testSession, SealerOptions{}).Seal(wrong, object.KindBlock, nil, payload); err != nil {
		t.Errorf("without Verify: %v", err)
	}
}

// An object opens as what it is, and as nothing else.
func TestOpenIsBoundToEverything(t *testing.T) {
	k := testKeys(t)
	session := k.NewSession(testSession, object.ClassMeta)
	sealed := func() object.Sealed {
		return mustSeal(t, k, object.KindList, testRefs(2), []byte("payload!"), SealerOptions{Rand: newRand(3)})
	}
	otherSession := object.SessionID([]byte("other session..."))
	otherRepo, err := NewKeys(testRoot, object.RepositoryID{1}, PaddingPadme)
	if err != nil {
		t.Fatal(err)
	}
	otherRoot, err := NewKeys([32]byte{1}, testRepo, PaddingPadme)
	if err != nil {
		t.Fatal(err)
	}
	noPadding, err := NewKeys(testRoot, testRepo, PaddingNone)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		edit func(keys **Keys, s *object.Session, o *object.Sealed)
		want error
	}{
		{"nothing", func(**Keys, *object.Session, *object.Sealed) {}, nil},
		{"repository", func(k **Keys, _ *object.Session, _ *object.Sealed) { *k = otherRepo }, object.ErrCorrupt},
		{"root", func(k **Keys, _ *object.Session, _ *object.Sealed) { *k = otherRoot }, object.ErrCorrupt},
		{"session", func(_ **Keys, s *object.Session, o *object.Sealed) { s.ID, o.Session = otherSession, otherSession }, object.ErrCorrupt},
		{"session of the row", func(_ **Keys, s *object.Session, _ *object.Sealed) { s.ID = otherSession }, object.ErrCorrupt},
		{"session of the object", func(_ **Keys, _ *object.Session, o *object.Sealed) { o.Session = otherSession }, object.ErrCorrupt},
		{"class", func(_ **Keys, s *object.Session, _ *object.Sealed) { s.Class = object.ClassData }, object.ErrCorrupt},
		{"class 0", func(_ **Keys, s *object.Session, _ *object.Sealed) { s.Class = 0 }, object.ErrCorrupt},
		{"epoch", func(_ **Keys, s *object.Session, _ *object.Sealed) { s.Epoch = 1 }, object.ErrCorrupt},
		{"wrap", func(_ **Keys, s *object.Session, _ *object.Sealed) { s.Wrap = []byte{0} }, object.ErrCorrupt},
		{"session type 0", func(_ **Keys, s *object.Session, _ *object.Sealed) { s.Type = 0 }, object.ErrCorrupt},
		{"session type 2 without wrap", func(_ **Keys, s *object.Session, _ *object.Sealed) { s.Type = 2 }, object.ErrCorrupt},
		{"session type 3", func(_ **Keys, s *object.Session, _ *object.Sealed) { s.Type = 3 }, object.ErrVersion},
		{"kind", func(_ **Keys, _ *object.Session, o *object.Sealed) { o.Kind = object.KindDir }, object.ErrCorrupt},
		{"kind of the other class", func(_ **Keys, s *object.Session, o *object.Sealed) {
			o.Kind, s.Class = object.KindBlock, object.ClassData
		}, object.ErrCorrupt},
		{"kind 0", func(_ **Keys, _ *object.Session, o *object.Sealed) { o.Kind = 0 }, object.ErrCorrupt},
		{"kind 7", func(_ **Keys, _ *object.Session, o *object.Sealed) { o.Kind = 7 }, object.ErrCorrupt},
		{"id", func(_ **Keys, _ *object.Session, o *object.Sealed) { o.ID[31] ^= 1 }, object.ErrCorrupt},
		{"a ref", func(_ **Keys, _ *object.Session, o *object.Sealed) { o.Refs[1][0] ^= 1 }, object.ErrCorrupt},
		{"order of refs", func(_ **Keys, _ *object.Session, o *object.Sealed) { slices.Reverse(o.Refs) }, object.ErrCorrupt},
		{"a ref less", func(_ **Keys, _ *object.Session, o *object.Sealed) { o.Refs = o.Refs[:1] }, object.ErrCorrupt},
		{"a ref more", func(_ **Keys, _ *object.Session, o *object.Sealed) { o.Refs = append(o.Refs, object.ID{}) }, object.ErrCorrupt},
		{"no bytes", func(_ **Keys, _ *object.Session, o *object.Sealed) { o.Bytes = nil }, object.ErrCorrupt},
		{"too many bytes", func(_ **Keys, _ *object.Session, o *object.Sealed) { o.Bytes = make([]byte, object.MaxSealed+1) }, object.ErrCorrupt},
		{"a byte more", func(_ **Keys, _ *object.Session, o *object.Sealed) { o.Bytes = append(o.Bytes, 0) }, object.ErrCorrupt},
		{"padding of the repository", func(k **Keys, _ *object.Session, _ *object.Sealed) { *k = noPadding }, object.ErrCorrupt},
	} {
		t.Run(tt.name, func(t *testing.T) {
			keys, s, o := k, session, sealed()
			tt.edit(&keys, &s, &o)
			got, err := keys.Open(nil, s, &o)
			if !errors.Is(err, tt.want) {
				t.Fatalf("got %v, want %v", err, tt.want)
			}
			if err == nil && string(got) != "payload!" {
				t.Errorf("got %q", got)
			}
			if err != nil && (got != nil || !strings.Contains(err.Error(), o.ID.String())) {
				t.Errorf("got %d bytes and %q, want none and the object's name", len(got), err)
			}
		})
	}
}

func TestOpenFindsEveryFlippedBit(t *testing.T) {
	k := testKeys(t)
	session := k.NewSession(testSession, object.ClassData)
	o := mustSeal(t, k, object.KindBlock, nil, []byte("some payload"), SealerOptions{})
	for i := range len(o.Bytes) * 8 {
		o.Bytes[i/8] ^= 1 << (i % 8)
		if _, err := k.Open(nil, session, &o); !errors.Is(err, object.ErrCorrupt) {
			t.Fatalf("bit %d: got %v, want ErrCorrupt", i, err)
		}
		o.Bytes[i/8] ^= 1 << (i % 8)
	}
	for n := range len(o.Bytes) {
		short := o
		short.Bytes = o.Bytes[:n]
		if _, err := k.Open(nil, session, &short); !errors.Is(err, object.ErrCorrupt) {
			t.Fatalf("%d bytes: got %v, want ErrCorrupt", n, err)
		}
	}
	if _, err := k.Open(nil, session, &o); err != nil {
		t.Error(err)
	}
}

func TestOpenConcurrently(t *testing.T) {
	k := testKeys(t)
	var objects []object.Sealed
	var payloads [][]byte
	for i := range 20 {
		payload := textBytes(byte(i), 1+i*3000)
		payloads = append(payloads, payload)
		objects = append(objects, mustSeal(t, k, allKinds[i%len(allKinds)], nil, payload, SealerOptions{}))
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			var dst []byte
			for i := range objects {
				var err error
				dst, err = k.Open(dst[:0], k.NewSession(testSession, objects[i].Kind.Class()), &objects[i])
				if err != nil || !bytes.Equal(dst, payloads[i]) {
					t.Errorf("object %d: %v, or another payload", i, err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// A mapSource finds objects in a map, whatever their own id says.
type mapSource map[object.ID]object.Sealed

func (m mapSource) Sealed(_ context.Context, id object.ID) (object.Sealed, object.Session, error) {
	o, ok := m[id]
	if !ok {
		return object.Sealed{}, object.Session{}, io.ErrUnexpectedEOF
	}
	return o, object.Session{ID: o.Session, Class: o.Kind.Class(), Type: object.SessionDerived}, nil
}

func TestReader(t *testing.T) {
	k := testKeys(t)
	refs := testRefs(2)
	list := mustSeal(t, k, object.KindList, refs, []byte("a list"), SealerOptions{})
	block := mustSeal(t, k, object.KindBlock, nil, []byte("a block"), SealerOptions{})
	swapped, broken, missing := object.ID{1}, mustSeal(t, k, object.KindDir, nil, []byte("a dir"), SealerOptions{}), object.ID{2}
	broken.Bytes[20] ^= 1
	r := NewReader(mapSource{list.ID: list, block.ID: block, swapped: block, broken.ID: broken}, k)

	gotRefs, payload, err := r.Object(t.Context(), list.ID, object.KindList)
	if err != nil || string(payload) != "a list" || !slices.Equal(gotRefs, refs) {
		t.Errorf("got %v, %q, %v", gotRefs, payload, err)
	}
	for _, tt := range []struct {
		name string
		id   object.ID
		kind object.Kind
		want error
	}{
		{"another kind", block.ID, object.KindList, object.ErrCorrupt},
		{"another object in its place", swapped, object.KindBlock, object.ErrCorrupt},
		{"damaged", broken.ID, object.KindDir, object.ErrCorrupt},
		{"not found", missing, object.KindBlock, io.ErrUnexpectedEOF},
	} {
		if _, payload, err := r.Object(t.Context(), tt.id, tt.kind); !errors.Is(err, tt.want) || payload != nil {
			t.Errorf("%s: got %q, %v, want %v", tt.name, payload, err, tt.want)
		}
	}
}
