package seal

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"bluesky/object"
)

// Errors go to terminals, logs and bug reports: no key, password or plaintext
// stands in one, in any notation.
func TestErrorsHoldNoSecret(t *testing.T) {
	k := testKeys(t)
	derived := k.derivedSecret(object.ClassMeta, 0, testSession)
	payload := []byte("the secret content of a file")
	secrets := map[string][]byte{
		"root": testRoot[:], "password": testPassword, "payload": payload,
		"id key": k.id[:], "map key": k.inodeMap[:], "series key": k.series[:], "data key": k.data[:], "meta key": k.meta[:],
		"admin seed": k.Admin().Seed(), "writer seed": k.Writer().Seed(), "recipient": testOracle.key("recipient key"),
		"derived session": derived[:], "wrapped session": testSecret[:],
		"polynomial": []byte(k.Polynomial().String()), "host": []byte("secret-host"),
	}
	errs := provokeErrors(t, k, payload)
	if len(errs) < 60 {
		t.Fatalf("only %d errors provoked", len(errs))
	}
	for _, err := range errs {
		for name, secret := range secrets {
			for _, form := range notations(secret) {
				if strings.Contains(strings.ToLower(err.Error()), strings.ToLower(form)) {
					t.Errorf("%q holds the %s", err, name)
				}
			}
		}
	}
}

// notations are the ways in which Go prints bytes, of a part that is long
// enough not to occur by chance.
func notations(secret []byte) []string {
	part := secret[:min(8, len(secret))]
	list := strings.Trim(fmt.Sprint(part), "[]")
	return []string{string(part), hex.EncodeToString(part), list, strings.ReplaceAll(list, " ", ", "),
		base64.RawStdEncoding.EncodeToString(part[:6])}
}

// provokeErrors returns the errors of everything that can go wrong with a
// secret at hand.
func provokeErrors(t *testing.T, k *Keys, payload []byte) []error {
	var errs []error
	add := func(err error) {
		t.Helper()
		if err == nil {
			t.Error("no error")
			return
		}
		errs = append(errs, err)
	}
	_, err := NewKeys(testRoot, testRepo, "half")
	add(err)
	_, err = NewRoot(bytes.NewReader(testRoot[:31]))
	add(err)
	for _, name := range vectorFiles(t, "object", ".json") {
		var v objectVector
		readJSON(t, name, &v)
		session, o := v.object()
		if _, err := v.keys(t).Open(nil, session, &o); err != nil {
			add(err)
		}
	}
	s := k.NewSealer(testSession, SealerOptions{Verify: true})
	_, err = s.Seal(object.ID{1}, object.KindBlock, nil, payload)
	add(err)
	_, err = s.Seal(object.ID{1}, 9, nil, payload)
	add(err)
	_, err = k.NewSealer(testSession, SealerOptions{Rand: bytes.NewReader(nil)}).Seal(object.ID{1}, object.KindBlock, nil, payload)
	add(err)
	_, err = WrapSession(nil, testRepo, writerPublic(), object.Session{}, testSecret)
	add(err)
	_, err = k.SealSummary(bytes.NewReader(nil), testSession, object.ID{}, payload)
	add(err)
	_, err = k.OpenSummary(testSession, object.ID{}, payload)
	add(err)
	return append(errs, provokeSlotErrors(t, k)...)
}

func provokeSlotErrors(t *testing.T, k *Keys) []error {
	var errs []error
	info := SlotInfo{Created: object.Time{Nsec: 1e9}, Host: []byte("secret-host")}
	for _, params := range []SlotParams{{}, cheap} {
		_, _, err := NewSlot(newRand(1), testPassword, testBundle(), info, params)
		errs = append(errs, err)
	}
	id, data := mustSlot(t)
	for i := 0; i < len(data); i += 3 { // every member of the slot damaged
		edited := bytes.Clone(data)
		edited[i] ^= 0x11
		_, err := OpenSlot(id, edited, testRepo, testPassword, 1<<20)
		if err != nil { // but for the info, which this does not read
			errs = append(errs, err)
		}
		if _, err := k.SlotInfo(id, edited); err != nil {
			errs = append(errs, err)
		}
	}
	_, err := OpenSlot(id, data, testRepo, append(testPassword[:len(testPassword):len(testPassword)], 'x'), testLimit)
	errs = append(errs, err)
	b := testBundle()
	bundle, err := encodeBundle(&b)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(bundle); i += 3 {
		edited := bytes.Clone(bundle)
		edited[i] ^= 0x11
		if _, err := decodeBundle(edited); err != nil {
			errs = append(errs, err)
		}
	}
	for _, err := range errs {
		if err == nil {
			t.Fatal("no error")
		}
	}
	return errs
}
