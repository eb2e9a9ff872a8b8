package seal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"testing"

	"bluesky/object"
)

func TestSummaryRoundTrip(t *testing.T) {
	k := testKeys(t)
	snapshot := object.ID{7}
	for _, n := range []int{0, 1, 100, 1000, 60_000} {
		plain := textBytes(1, n)
		sealed, err := k.SealSummary(newRand(4), testSession, snapshot, plain)
		if err != nil {
			t.Fatal(err)
		}
		if want := 29 + oraclePadme(4+n); len(sealed) != want {
			t.Errorf("%d bytes: sealed %d, want %d", n, len(sealed), want)
		}
		got, err := k.OpenSummary(testSession, snapshot, sealed)
		if err != nil || !bytes.Equal(got, plain) {
			t.Errorf("%d bytes: got %d, %v", n, len(got), err)
		}
	}
}

func TestSummaryFollowsTheFormat(t *testing.T) {
	k := testKeys(t)
	snapshot := object.ID{7}
	sealed, err := k.SealSummary(newRand(4), testSession, snapshot, []byte("a summary"))
	if err != nil {
		t.Fatal(err)
	}
	name := append(append(testRepo[:len(testRepo):len(testRepo)], testSession[:]...), snapshot[:]...)
	aad := append(append([]byte("bluesky v1 summary\x00"), 1), name...)
	got := oracleGCM(t, oracleKDF(testOracle.key("meta key"), "summary", name), sealed[1:], aad)
	want := append(binary.LittleEndian.AppendUint32(nil, 9), "a summary"...)
	want = append(want, make([]byte, oraclePadme(13)-13)...)
	if sealed[0] != 1 || !bytes.Equal(got, want) {
		t.Errorf("version %d, plaintext %x, want 1, %x", sealed[0], got, want)
	}
}

func TestOpenSummaryRefuses(t *testing.T) {
	k := testKeys(t)
	snapshot := object.ID{7}
	sealed, err := k.SealSummary(newRand(4), testSession, snapshot, []byte("a summary"))
	if err != nil {
		t.Fatal(err)
	}
	// craft seals any plaintext at all for the snapshot.
	craft := func(plain []byte) []byte {
		nonce := make([]byte, nonceSize)
		return k.summaryCipher(testSession, snapshot).Seal(append([]byte{1}, nonce...), nonce, plain, k.summaryAAD(testSession, snapshot))
	}
	edit := func(i int, to byte) []byte {
		b := slices.Clone(sealed)
		b[i] = to
		return b
	}
	for _, tt := range []struct {
		name     string
		session  object.SessionID
		snapshot object.ID
		sealed   []byte
		want     error
	}{
		{"another session", object.SessionID{1}, snapshot, sealed, object.ErrCorrupt},
		{"another snapshot", testSession, object.ID{8}, sealed, object.ErrCorrupt},
		{"version 0", testSession, snapshot, edit(0, 0), object.ErrCorrupt},
		{"version 2", testSession, snapshot, edit(0, 2), object.ErrVersion},
		{"nonce", testSession, snapshot, edit(1, sealed[1]^1), object.ErrCorrupt},
		{"tag", testSession, snapshot, edit(len(sealed)-1, sealed[len(sealed)-1]^1), object.ErrCorrupt},
		{"nothing", testSession, snapshot, nil, object.ErrCorrupt},
		{"cut", testSession, snapshot, sealed[:20], object.ErrCorrupt},
		{"too long", testSession, snapshot, append(sealed, make([]byte, maxSummary)...), object.ErrCorrupt},
		{"record beyond the end", testSession, snapshot, craft([]byte{5, 0, 0, 0, 1, 2, 3, 4}), object.ErrCorrupt},
		{"length of 2^32-1", testSession, snapshot, craft([]byte{255, 255, 255, 255, 1}), object.ErrCorrupt},
		{"padding of ones", testSession, snapshot, craft([]byte{9, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 1}), object.ErrCorrupt},
		{"not padded", testSession, snapshot, craft([]byte{9, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9}), object.ErrCorrupt},
		{"padded too far", testSession, snapshot, craft(make([]byte, 8)), object.ErrCorrupt},
	} {
		if got, err := k.OpenSummary(tt.session, tt.snapshot, tt.sealed); !errors.Is(err, tt.want) || got != nil {
			t.Errorf("%s: got %q, %v, want %v", tt.name, got, err, tt.want)
		}
	}
}

func TestSealSummaryRefuses(t *testing.T) {
	k := testKeys(t)
	if b, err := k.SealSummary(newRand(1), testSession, object.ID{}, make([]byte, maxSummary-32)); err == nil {
		t.Errorf("sealed %d bytes, more than an entry takes", len(b))
	}
	if _, err := k.SealSummary(bytes.NewReader(nil), testSession, object.ID{}, []byte("x")); err == nil {
		t.Error("sealed without a nonce")
	}
}
