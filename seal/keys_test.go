package seal

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"testing"

	"bluesky/object"

	"github.com/restic/chunker"
)

func TestKeysFollowTheFormat(t *testing.T) {
	k := testKeys(t)
	for _, tt := range []struct {
		name string
		got  []byte
		use  string
	}{
		{"id", k.id[:], "id key"},
		{"map", k.inodeMap[:], "map key"},
		{"series", k.series[:], "series key"},
		{"data", k.data[:], "data key"},
		{"meta", k.meta[:], "meta key"},
		{"admin seed", k.Admin().Seed(), "admin key"},
		{"writer seed", k.Writer().Seed(), "writer key"},
	} {
		if want := testOracle.key(tt.use); !bytes.Equal(tt.got, want) {
			t.Errorf("%s: got %x, want %x", tt.name, tt.got, want)
		}
	}
	recipient, err := recipientKEM().NewPrivateKey(testOracle.key("recipient key"))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := k.Recipient(), recipient.PublicKey().Bytes(); !bytes.Equal(got, want) {
		t.Errorf("recipient: got %x, want %x", got, want)
	}
	if recipientKEM().ID() != 0x647a {
		t.Errorf("KEM: got %#x, want 0x647a", recipientKEM().ID())
	}
	if !k.Polynomial().Irreducible() || k.Polynomial().Deg() != 53 {
		t.Errorf("polynomial %v is none of the chunker's", k.Polynomial())
	}
}

func TestNewKeysOfAnotherRootShareNothing(t *testing.T) {
	other := testRoot
	other[31] ^= 1
	a := testKeys(t)
	b, err := NewKeys(other, testRepo, PaddingPadme)
	if err != nil {
		t.Fatal(err)
	}
	if a.Polynomial() == b.Polynomial() || a.Admin().Equal(b.Admin()) || a.Writer().Equal(b.Writer()) ||
		bytes.Equal(a.Recipient(), b.Recipient()) || a.id == b.id || a.MapHash(0, 1) == b.MapHash(0, 1) {
		t.Error("two roots share a key")
	}
}

func TestNewKeysRefusesUnknownPadding(t *testing.T) {
	if _, err := NewKeys(testRoot, testRepo, "half"); err == nil {
		t.Error("padding \"half\" was accepted")
	}
}

func TestAccessorsReturnCopies(t *testing.T) {
	k := testKeys(t)
	clear(k.Admin())
	clear(k.Writer())
	clear(k.Recipient())
	fresh := testKeys(t)
	if !k.Admin().Equal(fresh.Admin()) || !k.Writer().Equal(fresh.Writer()) || !bytes.Equal(k.Recipient(), fresh.Recipient()) {
		t.Error("a caller changed a key through an accessor")
	}
}

func TestNewRoot(t *testing.T) {
	root, err := NewRoot(newRand(1))
	if err != nil {
		t.Fatal(err)
	}
	if want := [32]byte(randomBytes(1, 32)); root != want {
		t.Errorf("got %x, want the first 32 bytes of the source, %x", root, want)
	}
	if _, err := NewKeys(root, testRepo, PaddingPadme); err != nil {
		t.Error(err)
	}
}

func TestNewRootDrawsAgainWithoutPolynomial(t *testing.T) {
	bad := [32]byte(randomBytes(1, 32))
	derive := func(root []byte) (chunker.Pol, error) {
		if [32]byte(root) == bad {
			return 0, io.EOF // what an exhausted stream gives
		}
		return derivePolynomial(root)
	}
	root, err := newRoot(newRand(1), derive)
	if err != nil {
		t.Fatal(err)
	}
	if want := [32]byte(randomBytes(1, 64)[32:]); root != want {
		t.Errorf("got %x, want the second draw, %x", root, want)
	}
}

func TestNewRootEnds(t *testing.T) {
	none := func([]byte) (chunker.Pol, error) { return 0, io.EOF }
	if _, err := newRoot(newRand(1), none); err == nil {
		t.Error("a source that never yields a polynomial gave a root")
	}
	if _, err := NewRoot(bytes.NewReader(make([]byte, 31))); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("short source: got %v", err)
	}
}

func TestPolynomialStreamCanRunOut(t *testing.T) {
	if _, err := chunker.DerivePolynomial(bytes.NewReader(make([]byte, 80))); err == nil {
		t.Error("a stream without an irreducible polynomial yields one")
	}
}

func TestPrintingKeysShowsNoSecret(t *testing.T) {
	k := testKeys(t)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d"} {
		if got := fmt.Sprintf(verb, k); got != "seal.Keys(redacted)" {
			t.Errorf("%s: %s", verb, got)
		}
	}
}

func TestRoleKeysSign(t *testing.T) {
	k := testKeys(t)
	message := []byte("a statement")
	for name, key := range map[string]ed25519.PrivateKey{"admin": k.Admin(), "writer": k.Writer()} {
		if !ed25519.Verify(key.Public().(ed25519.PublicKey), message, ed25519.Sign(key, message)) {
			t.Errorf("%s key does not sign", name)
		}
	}
	if k.Admin().Equal(k.Writer()) {
		t.Error("admin and writer are one key")
	}
	if k.Repository() != testRepo {
		t.Errorf("repository %v, want %v", k.Repository(), object.RepositoryID(testRepo))
	}
}
