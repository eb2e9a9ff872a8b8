package seal

import (
	"crypto/ed25519"
	"crypto/hpke"
	"encoding/binary"
	"errors"
	"slices"
	"testing"

	"bluesky/object"
)

var (
	testWriter = ed25519.NewKeyFromSeed([]byte("seed of a writer of one machine."))
	testSecret = [32]byte([]byte("secret of a backup-only session."))
)

func writerPublic() ed25519.PublicKey { return testWriter.Public().(ed25519.PublicKey) }

func mustWrap(t testing.TB, k *Keys, class object.Class, epoch uint32) object.Session {
	t.Helper()
	row := object.Session{ID: testSession, Class: class, Epoch: epoch}
	s, err := WrapSession(k.Recipient(), testRepo, writerPublic(), row, testSecret)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestNewSession(t *testing.T) {
	got := testKeys(t).NewSession(testSession, object.ClassData)
	if got.ID != testSession || got.Class != object.ClassData || got.Type != object.SessionDerived ||
		got.Epoch != 0 || got.Wrap != nil {
		t.Errorf("got %+v", got)
	}
}

func TestDerivedSecretsFollowTheFormat(t *testing.T) {
	k := testKeys(t)
	for _, row := range []object.Session{
		{ID: testSession, Class: object.ClassData, Type: object.SessionDerived},
		{ID: testSession, Class: object.ClassMeta, Type: object.SessionDerived},
		{ID: testSession, Class: object.ClassMeta, Type: object.SessionDerived, Epoch: 7},
		{ID: object.SessionID{1}, Class: object.ClassMeta, Type: object.SessionDerived, Epoch: 7},
	} {
		for range 2 { // derived, then cached
			got, err := k.secret(&row)
			if want := [32]byte(testOracle.sessionSecret(row)); err != nil || got != want {
				t.Errorf("%+v: got %x, %v, want %x", row, got, err, want)
			}
		}
	}
}

// What a client seals with a secret of its own, the holder of the full key
// opens by the row alone.
func TestHPKESessionRoundTrip(t *testing.T) {
	k := testKeys(t)
	data, meta := mustWrap(t, k, object.ClassData, 0), mustWrap(t, k, object.ClassMeta, 3)
	secret := testSecret
	s := newSealer(k, testSession, SealerOptions{Verify: true},
		map[object.Class]*object.Session{object.ClassData: &data, object.ClassMeta: &meta},
		map[object.Class]*[32]byte{object.ClassData: &secret, object.ClassMeta: &secret})
	for _, kind := range []object.Kind{object.KindBlock, object.KindList} {
		payload := []byte("sealed by a machine that cannot read")
		o, err := s.Seal(s.ID(kind, nil, payload), kind, nil, payload)
		if err != nil {
			t.Fatal(err)
		}
		fresh := testKeys(t) // nothing cached
		got, err := fresh.Open(nil, *s.rows[kind.Class()], &o)
		if err != nil || string(got) != string(payload) {
			t.Errorf("%s: got %q, %v", kind, got, err)
		}
		if _, err := fresh.Open(nil, fresh.NewSession(testSession, kind.Class()), &o); !errors.Is(err, object.ErrCorrupt) {
			t.Errorf("%s opens with the derived secret too: %v", kind, err)
		}
	}
}

// The wrap is what docs/format.md says, read with crypto/hpke alone.
func TestWrapFollowsTheFormat(t *testing.T) {
	k := testKeys(t)
	row := mustWrap(t, k, object.ClassMeta, 9)
	if row.Type != object.SessionHPKE || len(row.Wrap) != 1200 || WrapSize != 1200 {
		t.Fatalf("type %d, wrap of %d bytes", row.Type, len(row.Wrap))
	}
	private, err := hpke.MLKEM768X25519().NewPrivateKey(testOracle.key("recipient key"))
	if err != nil {
		t.Fatal(err)
	}
	info := append([]byte("bluesky v1 hpke session\x00"), testRepo[:]...)
	info = append(info, testSession[:]...)
	info = append(info, 2)
	info = binary.LittleEndian.AppendUint32(info, 9)
	info = append(info, writerPublic()...)
	got, err := hpke.Open(private, hpke.HKDFSHA256(), hpke.AES256GCM(), info, row.Wrap[32:])
	if err != nil || [32]byte(got) != testSecret {
		t.Errorf("got %x, %v", got, err)
	}
}

func TestHPKESessionIsBoundToItsRow(t *testing.T) {
	k := testKeys(t)
	row := mustWrap(t, k, object.ClassMeta, 3)
	if _, err := k.secret(&row); err != nil { // cached, and of no use to what follows
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		edit func(*object.Session)
	}{
		{"id", func(s *object.Session) { s.ID[0] ^= 1 }},
		{"class", func(s *object.Session) { s.Class = object.ClassData }},
		{"epoch", func(s *object.Session) { s.Epoch++ }},
		{"writer", func(s *object.Session) { s.Wrap[0] ^= 1 }},
		{"encapsulated key", func(s *object.Session) { s.Wrap[32] ^= 1 }},
		{"its X25519 part", func(s *object.Session) { s.Wrap[32+1100] ^= 1 }},
		{"ciphertext", func(s *object.Session) { s.Wrap[1199] ^= 1 }},
		{"a byte less", func(s *object.Session) { s.Wrap = s.Wrap[:1199] }},
		{"a byte more", func(s *object.Session) { s.Wrap = append(s.Wrap, 0) }},
		{"no wrap", func(s *object.Session) { s.Wrap = nil }},
	} {
		edited := row
		edited.Wrap = slices.Clone(row.Wrap)
		tt.edit(&edited)
		if _, err := k.secret(&edited); !errors.Is(err, object.ErrCorrupt) {
			t.Errorf("%s: got %v, want ErrCorrupt", tt.name, err)
		}
	}
	other, err := NewKeys(testRoot, object.RepositoryID{1}, PaddingPadme)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.secret(&row); !errors.Is(err, object.ErrCorrupt) {
		t.Errorf("another repository: got %v, want ErrCorrupt", err)
	}
}

func TestWrapSessionRefuses(t *testing.T) {
	k := testKeys(t)
	if _, err := WrapSession(k.Recipient()[1:], testRepo, writerPublic(), object.Session{}, testSecret); err == nil {
		t.Error("a short recipient key was accepted")
	}
	if _, err := WrapSession(k.Recipient(), testRepo, writerPublic()[1:], object.Session{}, testSecret); err == nil {
		t.Error("a short writer key was accepted")
	}
}

func TestSessionCacheIsBounded(t *testing.T) {
	k := testKeys(t)
	for i := range uint32(3 * sessionCacheSize) {
		row := object.Session{ID: testSession, Class: object.ClassMeta, Type: object.SessionDerived, Epoch: i}
		got, err := k.secret(&row)
		if err != nil || got != k.derivedSecret(row.Class, row.Epoch, row.ID) {
			t.Fatalf("epoch %d: %v, or another secret", i, err)
		}
	}
	if n := len(k.sessions.secrets); n != sessionCacheSize {
		t.Errorf("%d secrets cached, want %d", n, sessionCacheSize)
	}
}
