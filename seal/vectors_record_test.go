package seal

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"bluesky/object"
)

func checkFile(t testing.TB, name string, got []byte) {
	t.Helper()
	want, err := os.ReadFile(filepath.Join(vectorDir, name))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s: got\n%swant\n%s", name, got, want)
	}
}

// All that derives from one root secret, frozen.
func TestKeyVectors(t *testing.T) {
	k := testKeys(t)
	var b bytes.Buffer
	line := func(name string, value []byte) { fmt.Fprintf(&b, "%s %s\n", name, hex.EncodeToString(value)) }
	line("root", testRoot[:])
	line("repository", testRepo[:])
	line("id-key", k.id[:])
	line("map-key", k.inodeMap[:])
	line("series-key", k.series[:])
	line("data-key", k.data[:])
	line("meta-key", k.meta[:])
	line("admin-public", k.Admin().Public().(ed25519.PublicKey))
	line("writer-public", k.Writer().Public().(ed25519.PublicKey))
	line("recipient-public", k.Recipient())
	data := k.derivedSecret(object.ClassData, 0, testSession)
	meta := k.derivedSecret(object.ClassMeta, 1, testSession)
	line("session", testSession[:])
	line("secret-data-epoch-0", data[:])
	line("secret-meta-epoch-1", meta[:])
	fmt.Fprintf(&b, "polynomial %v\n", k.Polynomial())
	fmt.Fprintf(&b, "map-hash-level-2-number-300 %08x\n", k.MapHash(2, 300))
	name := k.NameHash([]byte("name"))
	line("name-hash-name", name[:])
	content := k.ContentHash([]byte("content"))
	line("content-hash-content", content[:])
	series := k.Series([]byte("host"), [][]byte{[]byte("/home"), []byte("/etc")})
	line("series-host-etc-home", series[:])
	series = k.NamedSeries("daily")
	line("named-series-daily", series[:])
	if *update {
		writeVector(t, "keys.txt", b.Bytes())
	}
	checkFile(t, "keys.txt", b.Bytes())
}

func TestPlaintextVectors(t *testing.T) {
	if *update {
		writeHex(t, "valid-plaintext-raw", oracleFrame(codecRaw, randomBytes(1, 570)))
		writeHex(t, "valid-plaintext-one-byte", oracleFrame(codecRaw, []byte{9}))
		writeHex(t, "valid-plaintext-zstd", oracleFrame(codecZstd, rleFrame(5000)))
		for _, c := range corruptPlaintexts(t)[:8] {
			writeHex(t, "corrupt-plaintext-"+c.name, c.plain)
		}
		writeHex(t, "corrupt-plaintext-empty", nil)
	}
	runHexVectors(t, "plaintext", func(b []byte) error {
		_, _, err := parsePlain(b, PaddingPadme)
		return err
	})
}

func FuzzPlaintext(f *testing.F) {
	seedHex(f, "plaintext")
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, padding := range []Padding{PaddingPadme, PaddingNone} {
			codec, data, err := parsePlain(b, padding)
			if err != nil {
				continue
			}
			again := finishPlain(append(make([]byte, plainHead), data...), codec, padding)
			if !bytes.Equal(again, b) {
				t.Errorf("%x encodes to %x", b, again)
			}
		}
	})
}

// Frames do not encode to themselves, since compressors differ; what a reader
// takes is bounded, and compresses and decompresses to itself.
func FuzzDecompress(f *testing.F) {
	for _, c := range corruptPlaintexts(f) {
		f.Add(c.plain[plainHead:])
	}
	f.Add(rleFrame(5000))
	f.Add(hugeWindowFrame(8 << 20))
	decoder, err := newDecoder()
	if err != nil {
		f.Fatal(err)
	}
	encoder, err := newEncoder(CompressionFastest, true)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		front := []byte("front")
		got, err := decompress(decoder, front, frame)
		if err != nil {
			return
		}
		payload := bytes.TrimPrefix(got, front)
		if len(got) != len(front)+len(payload) || len(payload) > object.MaxPayload || len(payload) <= len(frame) {
			t.Fatalf("%d bytes of frame give %d", len(frame), len(got))
		}
		if len(payload) > maxWindow {
			return // needs the other encoder
		}
		again, err := decompress(decoder, nil, encoder.EncodeAll(payload, nil))
		if err == nil && !bytes.Equal(again, payload) {
			t.Error("compresses to something else")
		}
	})
}

func TestSlotVectors(t *testing.T) {
	if *update {
		updateSlotVectors(t)
	}
	runHexVectors(t, "slot", func(b []byte) error {
		_, err := decodeSlot(b)
		return err
	})
	data := readHex(t, filepath.Join(vectorDir, "valid-slot.hex"))
	got, err := OpenSlot(SlotID(randomBytes(9, 16)), data, testRepo, testPassword, testLimit)
	if err != nil || !equalBundles(got, testBundle()) {
		t.Errorf("got %v, %v", got, err)
	}
	if _, again := mustSlot(t); !bytes.Equal(again, data) {
		t.Errorf("made again: %x, want %x", again, data)
	}
}

func updateSlotVectors(t *testing.T) {
	_, data := mustSlot(t)
	writeHex(t, "valid-slot", data)
	for name, f := range map[string]func(*slotRecord){
		"version-slot-version-2":    func(r *slotRecord) { r.Version = 2 },
		"version-slot-type-2":       func(r *slotRecord) { r.Type = 2 },
		"corrupt-slot-version-0":    func(r *slotRecord) { r.Version = 0 },
		"corrupt-slot-type-0":       func(r *slotRecord) { r.Type = 0 },
		"corrupt-slot-time-0":       func(r *slotRecord) { r.Time = 0 },
		"corrupt-slot-time-65":      func(r *slotRecord) { r.Time = 65 },
		"corrupt-slot-lanes-0":      func(r *slotRecord) { r.Lanes = 0 },
		"corrupt-slot-lanes-65":     func(r *slotRecord) { r.Lanes, r.Memory = 65, 4096 },
		"corrupt-slot-memory-15":    func(r *slotRecord) { r.Memory = 15 },
		"corrupt-slot-memory-4-gib": func(r *slotRecord) { r.Memory = maxMemory + 1 },
		"corrupt-slot-no-wrap":      func(r *slotRecord) { r.Wrap = nil },
		"corrupt-slot-wrap-short":   func(r *slotRecord) { r.Wrap = r.Wrap[:28] },
		"corrupt-slot-no-info":      func(r *slotRecord) { r.Info = nil },
		"corrupt-slot-info-long":    func(r *slotRecord) { r.Info = append(r.Info, 0) },
	} {
		r, err := decodeSlot(data)
		if err != nil {
			t.Fatal(err)
		}
		f(r)
		b, err := encodeSlot(r)
		if err != nil {
			t.Fatal(err)
		}
		writeHex(t, name, b)
	}
	writeHex(t, "corrupt-slot-empty", nil)
	writeHex(t, "corrupt-slot-cut", data[:len(data)-1])
	writeHex(t, "corrupt-slot-trailing", append(slices.Clone(data), 0))
	writeHex(t, "corrupt-slot-not-canonical", slices.Insert(slices.Clone(data), 2, 0x18)) // version 1 in two bytes
	later, err := object.EncodeCBOR(map[uint64]any{1: uint64(1), 2: uint64(3), 40: []byte("recipient")})
	if err != nil {
		t.Fatal(err)
	}
	writeHex(t, "version-slot-type-3", later)
}

func FuzzSlot(f *testing.F) {
	seedHex(f, "slot")
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := decodeSlot(b)
		if err != nil {
			return
		}
		if again, err := encodeSlot(r); err != nil || !bytes.Equal(again, b) {
			t.Errorf("%x encodes to %x, %v", b, again, err)
		}
	})
}

func TestBundleVectors(t *testing.T) {
	if *update {
		b := testBundle()
		data, err := encodeBundle(&b)
		if err != nil {
			t.Fatal(err)
		}
		writeHex(t, "valid-bundle", data)
		edit := func(i int, to byte) []byte {
			c := slices.Clone(data)
			c[i] = to
			return c
		}
		writeHex(t, "version-bundle-2", edit(2, 2))
		writeHex(t, "corrupt-bundle-version-0", edit(2, 0))
		writeHex(t, "corrupt-bundle-admin", edit(30, data[30]^1))
		writeHex(t, "corrupt-bundle-root", edit(len(data)-1, data[len(data)-1]^1))
		writeHex(t, "corrupt-bundle-cut", data[:len(data)-1])
		writeHex(t, "corrupt-bundle-trailing", append(slices.Clone(data), 0))
		short := append(slices.Clone(data[:len(data)-34]), 0x58, 31)
		writeHex(t, "corrupt-bundle-root-of-31-bytes", append(short, testRoot[:31]...))
	}
	runHexVectors(t, "bundle", func(b []byte) error {
		_, err := decodeBundle(b)
		return err
	})
}

func FuzzBundle(f *testing.F) {
	seedHex(f, "bundle")
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := decodeBundle(b)
		if err != nil {
			return
		}
		if again, err := encodeBundle(&got); err != nil || !bytes.Equal(again, b) {
			t.Errorf("%x encodes to %x, %v", b, again, err)
		}
	})
}

func TestSlotInfoVectors(t *testing.T) {
	if *update {
		info := testInfo
		data, err := encodeInfo(&info)
		if err != nil {
			t.Fatal(err)
		}
		empty, err := encodeInfo(&SlotInfo{})
		if err != nil {
			t.Fatal(err)
		}
		edit := func(i int, to byte) []byte {
			c := slices.Clone(data)
			c[i] = to
			return c
		}
		writeHex(t, "valid-info", data)
		writeHex(t, "valid-info-empty", empty)
		writeHex(t, "corrupt-info-padding", edit(255, 1))
		writeHex(t, "corrupt-info-length-short", edit(0, data[0]-1))
		writeHex(t, "corrupt-info-length-beyond", edit(1, 1))
		writeHex(t, "corrupt-info-cut", data[:255])
		writeHex(t, "corrupt-info-long", append(slices.Clone(data), 0))
		for name, members := range map[string]map[uint64]any{
			"corrupt-info-unknown-member": {4: uint64(1)},
			"corrupt-info-nanoseconds":    {1: []uint64{5, 1_000_000_000}},
		} {
			bad, err := object.EncodeCBOR(members)
			if err != nil {
				t.Fatal(err)
			}
			framed := append([]byte{byte(len(bad)), 0}, bad...)
			writeHex(t, name, append(framed, make([]byte, 256-len(framed))...))
		}
	}
	runHexVectors(t, "info", func(b []byte) error {
		_, err := decodeInfo(b)
		return err
	})
}

func FuzzSlotInfo(f *testing.F) {
	seedHex(f, "info")
	f.Fuzz(func(t *testing.T, b []byte) {
		info, err := decodeInfo(b)
		if err != nil {
			return
		}
		if again, err := encodeInfo(&info); err != nil || !bytes.Equal(again, b) {
			t.Errorf("%x encodes to %x, %v", b, again, err)
		}
	})
}

type summaryVector struct {
	Root, Repo, Session, Snapshot, Sealed, Plain hexBytes
}

func TestSummaryVectors(t *testing.T) {
	snapshot := object.ID{7}
	plain := []byte("a summary of 37 bytes, to be padded..")
	if *update {
		sealed, err := testKeys(t).SealSummary(newRand(4), testSession, snapshot, plain)
		if err != nil {
			t.Fatal(err)
		}
		writeJSON(t, "valid-summary", summaryVector{testRoot[:], testRepo[:], testSession[:], snapshot[:], sealed, plain})
		sealed[0] = 2
		writeJSON(t, "version-summary", summaryVector{testRoot[:], testRepo[:], testSession[:], snapshot[:], sealed, nil})
		sealed[0] = 1
		writeJSON(t, "corrupt-summary-snapshot", summaryVector{testRoot[:], testRepo[:], testSession[:], make([]byte, 32), sealed, nil})
		writeHex(t, "valid-summaryplain", frameSummary(plain))
		writeHex(t, "valid-summaryplain-empty", frameSummary(nil))
		writeHex(t, "corrupt-summaryplain-length", append([]byte{255, 255, 255, 255}, frameSummary(plain)[4:]...))
		writeHex(t, "corrupt-summaryplain-padding", append(frameSummary(plain), 0))
		writeHex(t, "corrupt-summaryplain-short", []byte{0, 0, 0})
	}
	for _, name := range vectorFiles(t, "summary", ".json") {
		var v summaryVector
		readJSON(t, name, &v)
		k, err := NewKeys([32]byte(v.Root), object.RepositoryID(v.Repo), PaddingPadme)
		if err != nil {
			t.Fatal(err)
		}
		session, id := object.SessionID(v.Session), object.ID(v.Snapshot)
		got, err := k.OpenSummary(session, id, v.Sealed)
		checkClass(t, name, err)
		if err != nil {
			continue
		}
		again, err := k.SealSummary(bytes.NewReader(v.Sealed[1:1+nonceSize]), session, id, got)
		if err != nil || !bytes.Equal(again, v.Sealed) || !bytes.Equal(got, v.Plain) {
			t.Errorf("%s: got %q, sealed again %x, %v", name, got, again, err)
		}
	}
	runHexVectors(t, "summaryplain", func(b []byte) error {
		_, err := parseSummary(b)
		return err
	})
}

func FuzzSummaryPlaintext(f *testing.F) {
	seedHex(f, "summaryplain")
	f.Fuzz(func(t *testing.T, b []byte) {
		record, err := parseSummary(b)
		if err != nil {
			return
		}
		if again := frameSummary(record); !bytes.Equal(again, b) {
			t.Errorf("%x encodes to %x", b, again)
		}
	})
}
