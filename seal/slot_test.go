package seal

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"bluesky/object"

	"golang.org/x/crypto/argon2"
)

var (
	cheap        = SlotParams{Time: 1, Memory: 16, Lanes: 2}
	testPassword = []byte("correct horse battery staple")
	testInfo     = SlotInfo{Created: object.Time{Sec: 1_790_000_000, Nsec: 5}, Host: []byte("host"), User: []byte("user")}
)

const testLimit = 1 << 30 // bytes

func testBundle() Bundle {
	return Bundle{
		Repository:  testRepo,
		Admin:       adminKey(testRoot[:]).Public().(ed25519.PublicKey),
		Generation0: object.HashBytes("generation", []byte("gen 0")),
		Root:        testRoot,
	}
}

func mustSlot(t testing.TB) (SlotID, []byte) {
	t.Helper()
	id, data, err := NewSlot(newRand(9), testPassword, testBundle(), testInfo, cheap)
	if err != nil {
		t.Fatal(err)
	}
	return id, data
}

func equalBundles(a, b Bundle) bool {
	return a.Repository == b.Repository && a.Admin.Equal(b.Admin) && a.Generation0 == b.Generation0 && a.Root == b.Root
}

func TestSlotRoundTrip(t *testing.T) {
	id, data := mustSlot(t)
	got, err := OpenSlot(id, data, testRepo, testPassword, testLimit)
	if err != nil || !equalBundles(got, testBundle()) {
		t.Errorf("got %v, %v", got, err)
	}
	if params, err := ParamsOf(data); err != nil || params != cheap {
		t.Errorf("params: got %+v, %v", params, err)
	}
	info, err := testKeys(t).SlotInfo(id, data)
	if err != nil || info.Created != testInfo.Created || string(info.Host) != "host" || string(info.User) != "user" {
		t.Errorf("info: got %v, %v", info, err)
	}
	for _, name := range []string{"host", "user", string(testPassword), string(testRoot[:])} {
		if bytes.Contains(data, []byte(name)) {
			t.Errorf("%q stands in the clear", name)
		}
	}
}

// The slot read with nothing but Argon2, AES-GCM and docs/format.md.
func TestSlotFollowsTheFormat(t *testing.T) {
	id, data := mustSlot(t)
	r, err := decodeSlot(data)
	if err != nil {
		t.Fatal(err)
	}
	if want := randomBytes(9, 16); !bytes.Equal(id[:], want) {
		t.Errorf("id %x, want the first 16 bytes of the source, %x", id[:], want)
	}
	kek := argon2.IDKey(testPassword, r.Salt[:], 1, 16, 2, 32)
	aad := append([]byte("bluesky v1 slot\x00"), testRepo[:]...)
	aad = append(append(aad, id[:]...), 1)
	aad = binary.LittleEndian.AppendUint32(aad, 1)
	aad = binary.LittleEndian.AppendUint32(aad, 16)
	aad = append(append(aad, 2), r.Salt[:]...)
	bundle := oracleGCM(t, kek, r.Wrap, aad)
	want := []byte{0xa5, 1, 1, 2, 0x50}
	want = append(append(want, testRepo[:]...), 3, 0x58, 32)
	want = append(append(want, testBundle().Admin...), 4, 0x58, 32)
	g0 := testBundle().Generation0
	want = append(append(want, g0[:]...), 5, 0x58, 32)
	want = append(want, testRoot[:]...)
	if !bytes.Equal(bundle, want) {
		t.Errorf("bundle %x, want %x", bundle, want)
	}

	aad = append(append([]byte("bluesky v1 slot info\x00"), testRepo[:]...), id[:]...)
	info := oracleGCM(t, oracleKDF(testOracle.key("meta key"), "slot info", id[:]), r.Info, aad)
	record := []byte{0xa3, 1, 0x82, 0x1a}
	record = append(binary.BigEndian.AppendUint32(record, 1_790_000_000), 5, 2, 0x44)
	record = append(append(record, "host"...), 3, 0x44)
	record = append(record, "user"...)
	want = append(binary.LittleEndian.AppendUint16(nil, uint16(len(record))), record...)
	want = append(want, make([]byte, 256-len(want))...)
	if !bytes.Equal(info, want) {
		t.Errorf("info %x, want %x", info, want)
	}
}

// oracleGCM opens nonce ‖ ciphertext ‖ tag.
func oracleGCM(t *testing.T, key, sealed, aad []byte) []byte {
	t.Helper()
	block, err := aes.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := aead.Open(nil, sealed[:12], sealed[12:], aad)
	if err != nil {
		t.Fatal(err)
	}
	return plain
}

func TestOpenSlotRefuses(t *testing.T) {
	id, data := mustSlot(t)
	edit := func(f func(*slotRecord)) []byte {
		r, err := decodeSlot(data)
		if err != nil {
			t.Fatal(err)
		}
		f(r)
		b, err := encodeSlot(r)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	huge := edit(func(r *slotRecord) { r.Memory = maxMemory })
	otherID := id
	otherID[0] ^= 1
	for _, tt := range []struct {
		name     string
		id       SlotID
		data     []byte
		repo     object.RepositoryID
		password string
		limit    uint64
		want     error
	}{
		{"another password", id, data, testRepo, "correct horse", testLimit, ErrWrongPassword},
		{"empty password", id, data, testRepo, "", testLimit, ErrWrongPassword},
		{"another slot id", otherID, data, testRepo, string(testPassword), testLimit, ErrWrongPassword},
		{"another repository", id, data, object.RepositoryID{1}, string(testPassword), testLimit, ErrWrongPassword},
		{"memory over the limit", id, data, testRepo, string(testPassword), 16<<10 - 1, ErrMemory},
		{"memory at the limit", id, data, testRepo, string(testPassword), 16 << 10, nil},
		{"4 GiB over the limit", id, huge, testRepo, string(testPassword), testLimit, ErrMemory},
		{"time changed", id, edit(func(r *slotRecord) { r.Time++ }), testRepo, string(testPassword), testLimit, ErrWrongPassword},
		{"memory changed", id, edit(func(r *slotRecord) { r.Memory++ }), testRepo, string(testPassword), testLimit, ErrWrongPassword},
		{"lanes changed", id, edit(func(r *slotRecord) { r.Lanes-- }), testRepo, string(testPassword), testLimit, ErrWrongPassword},
		{"salt changed", id, edit(func(r *slotRecord) { r.Salt[0] ^= 1 }), testRepo, string(testPassword), testLimit, ErrWrongPassword},
		{"nonce changed", id, edit(func(r *slotRecord) { r.Wrap[0] ^= 1 }), testRepo, string(testPassword), testLimit, ErrWrongPassword},
		{"wrap changed", id, edit(func(r *slotRecord) { r.Wrap[40] ^= 1 }), testRepo, string(testPassword), testLimit, ErrWrongPassword},
		{"time 65", id, edit(func(r *slotRecord) { r.Time = 65 }), testRepo, string(testPassword), testLimit, object.ErrCorrupt},
		{"more than 4 GiB", id, edit(func(r *slotRecord) { r.Memory = maxMemory + 1 }), testRepo, string(testPassword), testLimit, object.ErrCorrupt},
		{"type 2", id, edit(func(r *slotRecord) { r.Type = 2 }), testRepo, string(testPassword), testLimit, object.ErrVersion},
		{"version 2", id, edit(func(r *slotRecord) { r.Version = 2 }), testRepo, string(testPassword), testLimit, object.ErrVersion},
		{"nothing", id, nil, testRepo, string(testPassword), testLimit, object.ErrCorrupt},
		{"too long", id, make([]byte, maxSlot+1), testRepo, string(testPassword), testLimit, object.ErrCorrupt},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b, err := OpenSlot(tt.id, tt.data, tt.repo, []byte(tt.password), tt.limit)
			if !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
			if err != nil && b.Root != [32]byte{} {
				t.Error("a root secret beside an error")
			}
		})
	}
}

// A slot of a later type may have any other members; it is still told from a
// broken one.
func TestSlotOfLaterTypeIsVersion(t *testing.T) {
	data, err := object.EncodeCBOR(map[uint64]any{1: uint64(1), 2: uint64(3), 40: []byte("recipient")})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := decodeSlot(data); !errors.Is(err, object.ErrVersion) {
		t.Errorf("got %v, want ErrVersion", err)
	}
}

func TestOpenSlotFindsBundleOfAnotherRepository(t *testing.T) {
	// Only who has the password can make this: a wrap that authenticates for
	// this repository, around the bundle of another.
	id, data := mustSlot(t)
	r, err := decodeSlot(data)
	if err != nil {
		t.Fatal(err)
	}
	b := testBundle()
	b.Repository[0] ^= 1
	bundle, err := encodeBundle(&b)
	if err != nil {
		t.Fatal(err)
	}
	nonce := r.Wrap[:nonceSize:nonceSize]
	r.Wrap = gcm(r.key(testPassword)).Seal(nonce, nonce, bundle, r.aad(testRepo, id))
	edited, err := encodeSlot(r)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := OpenSlot(id, edited, testRepo, testPassword, testLimit); !errors.Is(err, object.ErrCorrupt) {
		t.Errorf("got %v, want ErrCorrupt", err)
	}
}

func TestNewSlotRefuses(t *testing.T) {
	wrongAdmin := testBundle()
	wrongAdmin.Admin = writerPublic()
	for _, tt := range []struct {
		name   string
		rand   io.Reader
		bundle Bundle
		info   SlotInfo
		params SlotParams
	}{
		{"time 0", newRand(1), testBundle(), testInfo, SlotParams{0, 64, 1}},
		{"time 65", newRand(1), testBundle(), testInfo, SlotParams{65, 64, 1}},
		{"lanes 0", newRand(1), testBundle(), testInfo, SlotParams{1, 64, 0}},
		{"lanes 65", newRand(1), testBundle(), testInfo, SlotParams{1, 1024, 65}},
		{"memory below the lanes'", newRand(1), testBundle(), testInfo, SlotParams{1, 15, 2}},
		{"memory above 4 GiB", newRand(1), testBundle(), testInfo, SlotParams{1, maxMemory + 1, 1}},
		{"short source", bytes.NewReader(make([]byte, 71)), testBundle(), testInfo, cheap},
		{"admin key of another root", newRand(1), wrongAdmin, testInfo, cheap},
		{"no time", newRand(1), testBundle(), SlotInfo{Created: object.Time{Nsec: 1e9}}, cheap},
	} {
		if _, data, err := NewSlot(tt.rand, testPassword, tt.bundle, tt.info, tt.params); err == nil {
			t.Errorf("%s: made a slot of %d bytes", tt.name, len(data))
		}
	}
}

func TestDefaultSlotParamsAreAccepted(t *testing.T) {
	if err := DefaultSlotParams().check(); err != nil {
		t.Error(err)
	}
	if limit := MemoryLimit(); limit < uint64(DefaultSlotParams().Memory)<<10 {
		t.Errorf("a limit of %d bytes: the default slot does not open on this machine", limit)
	}
}

func TestSlotInfoCutsLongNames(t *testing.T) {
	long := strings.Repeat("n", 300)
	info := SlotInfo{Created: object.Time{Sec: -1 << 62, Nsec: 999_999_999}, Host: []byte(long), User: []byte(long)}
	id, data, err := NewSlot(newRand(1), testPassword, testBundle(), info, cheap)
	if err != nil {
		t.Fatal(err)
	}
	got, err := testKeys(t).SlotInfo(id, data)
	if err != nil || string(got.Host) != long[:100] || string(got.User) != long[:100] || got.Created != info.Created {
		t.Errorf("got %v, %v", got, err)
	}
	if len(info.Host) != 300 {
		t.Error("NewSlot changed the caller's info")
	}
	other := id
	other[0] ^= 1
	if _, err := testKeys(t).SlotInfo(other, data); !errors.Is(err, object.ErrCorrupt) {
		t.Errorf("another slot id: got %v, want ErrCorrupt", err)
	}
}

func TestPrintingBundleShowsNoSecret(t *testing.T) {
	b := testBundle()
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d"} {
		for _, x := range []any{b, &b} {
			if got := fmt.Sprintf(verb, x); got != "seal.Bundle(repository "+testRepo.String()+", redacted)" {
				t.Errorf("%s: %s", verb, got)
			}
		}
	}
}
