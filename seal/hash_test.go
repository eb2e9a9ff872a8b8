package seal

import (
	"bytes"
	"encoding/binary"
	"slices"
	"sync"
	"testing"

	"bluesky/object"
)

func TestIDFollowsTheFormat(t *testing.T) {
	k := testKeys(t)
	for _, tt := range []struct {
		name    string
		kind    object.Kind
		refs    []object.ID
		payload []byte
	}{
		{"block", object.KindBlock, nil, []byte("x")},
		{"large block", object.KindBlock, nil, randomBytes(1, 100_000)},
		{"list", object.KindList, testRefs(2), []byte("list")},
		{"many refs", object.KindInodes, testRefs(1000), []byte("inodes")},
		{"snapshot", object.KindSnapshot, testRefs(1), textBytes(2, 300)},
	} {
		got := k.ID(tt.kind, tt.refs, tt.payload)
		if want := testOracle.id(tt.kind, tt.refs, tt.payload); got != want {
			t.Errorf("%s: got %v, want %v", tt.name, got, want)
		}
		if s := k.NewSealer(testSession, SealerOptions{}); s.ID(tt.kind, tt.refs, tt.payload) != got {
			t.Errorf("%s: a sealer computes another id", tt.name)
		}
	}
}

// Every part of an object is in its id, and no part can pass for another.
func TestIDsDiffer(t *testing.T) {
	k := testKeys(t)
	refs := testRefs(2)
	ids := map[object.ID]string{}
	add := func(name string, id object.ID) {
		if other, ok := ids[id]; ok {
			t.Errorf("%s and %s share an id", name, other)
		}
		ids[id] = name
	}
	add("plain", k.ID(object.KindList, refs, []byte("payload")))
	add("kind", k.ID(object.KindDir, refs, []byte("payload")))
	add("order of refs", k.ID(object.KindList, []object.ID{refs[1], refs[0]}, []byte("payload")))
	add("one ref", k.ID(object.KindList, refs[:1], []byte("payload")))
	add("no ref", k.ID(object.KindList, nil, []byte("payload")))
	add("payload", k.ID(object.KindList, refs, []byte("payloae")))
	add("ref moved into the payload", k.ID(object.KindList, refs[:1], append(slices.Clone(refs[1][:]), "payload"...)))
	other, err := NewKeys([32]byte{1}, testRepo, PaddingPadme)
	if err != nil {
		t.Fatal(err)
	}
	add("key", other.ID(object.KindList, refs, []byte("payload")))
}

func TestMapAndNameHash(t *testing.T) {
	k := testKeys(t)
	for _, tt := range []struct {
		level uint8
		n     uint64
	}{{0, 1}, {0, 1 << 40}, {3, 7}, {255, ^uint64(0)}} {
		x := binary.LittleEndian.AppendUint64([]byte{tt.level}, tt.n)
		want := binary.LittleEndian.Uint32(oracleKeyedHash(testOracle.key("map key"), "inode map", x))
		if got := k.MapHash(tt.level, tt.n); got != want {
			t.Errorf("MapHash(%d, %d): got %x, want %x", tt.level, tt.n, got, want)
		}
	}
	for _, name := range []string{"", "a", "a file of some name"} {
		want := oracleKeyedHash(testOracle.key("map key"), "directory", []byte(name))
		if got := k.NameHash([]byte(name)); !bytes.Equal(got[:], want) {
			t.Errorf("NameHash(%q): got %x, want %x", name, got, want)
		}
	}
}

func TestContentHash(t *testing.T) {
	k := testKeys(t)
	content := textBytes(3, 50_000)
	x := binary.LittleEndian.AppendUint64(nil, uint64(len(content)))
	want := [16]byte(oracleKeyedHash(testOracle.key("id key"), "content", append(x, content...))[:16])
	if got := k.ContentHash(content); got != want {
		t.Errorf("whole: got %x, want %x", got, want)
	}
	if got := k.ContentHash(content[:1], nil, content[1:20_000], content[20_000:]); got != want {
		t.Errorf("in parts: got %x, want %x", got, want)
	}
	c := k.NewContentHasher(uint64(len(content)))
	c.Write(content[:30_000])
	if _, err := c.Sum(); err == nil {
		t.Error("a hash of less than was announced")
	}
	c.Write(content[30_000:])
	if got, err := c.Sum(); err != nil || got != want {
		t.Errorf("streamed: got %x, %v, want %x", got, err, want)
	}
	c.Write([]byte{0})
	if _, err := c.Sum(); err == nil {
		t.Error("a hash of more than was announced")
	}
}

func TestSeries(t *testing.T) {
	k := testKeys(t)
	var x []byte
	for _, s := range []string{"host"} {
		x = append(binary.LittleEndian.AppendUint64(x, uint64(len(s))), s...)
	}
	x = binary.LittleEndian.AppendUint32(x, 2)
	for _, s := range []string{"/etc", "/home"} {
		x = append(binary.LittleEndian.AppendUint64(x, uint64(len(s))), s...)
	}
	want := [16]byte(oracleKeyedHash(testOracle.key("series key"), "series", x)[:16])

	given := [][]byte{[]byte("/home"), []byte("/etc"), []byte("/home")}
	if got := k.Series([]byte("host"), given); got != want {
		t.Errorf("got %x, want %x", got, want)
	}
	if string(given[0]) != "/home" || string(given[1]) != "/etc" {
		t.Error("Series changed the caller's paths")
	}
	if k.Series([]byte("hos"), [][]byte{[]byte("t/etc"), []byte("/home")}) == want {
		t.Error("host and path run into each other")
	}

	name := append(binary.LittleEndian.AppendUint64(nil, 3), "etc"...)
	want = [16]byte(oracleKeyedHash(testOracle.key("series key"), "named series", name)[:16])
	if got := k.NamedSeries("etc"); got != want {
		t.Errorf("named: got %x, want %x", got, want)
	}
}

// Pooled hashers must not carry anything from one hash into another.
func TestHashesConcurrently(t *testing.T) {
	k := testKeys(t)
	payloads := [][]byte{[]byte("x"), randomBytes(1, 1025), randomBytes(2, 70_000)}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range 200 {
				p := payloads[i%len(payloads)]
				if k.ID(object.KindBlock, nil, p) != testOracle.id(object.KindBlock, nil, p) {
					t.Error("an id changed under concurrent use")
					return
				}
				k.MapHash(0, uint64(i))
				k.NameHash(p[:1])
			}
		})
	}
	wg.Wait()
}
