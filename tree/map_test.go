package tree

import (
	"context"
	"errors"
	"math"
	"slices"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"bluesky/object"
)

func buildMap(ctx context.Context, sink Sink, p Params, inodes []Inode) (object.ID, error) {
	b := NewMapBuilder(sink, testHasher{}, p)
	for i := range inodes {
		if err := b.Add(ctx, &inodes[i]); err != nil {
			return object.ID{}, err
		}
	}
	return b.Finish(ctx)
}

func mustBuild(t interface {
	Helper()
	Fatal(...any)
}, m *memory, p Params, inodes []Inode) *Map {
	t.Helper()
	root, err := buildMap(context.Background(), m, p, inodes)
	if err != nil {
		t.Fatal(err)
	}
	return OpenMap(m, testHasher{}, p, root)
}

// referenceMap makes the map by the words of docs/format.md, level by level.
func referenceMap(p Params, m *memory, inodes []Inode) object.ID {
	ctx := context.Background()
	var level []imapChild
	for len(inodes) > 0 {
		n := 0
		for n < len(inodes) {
			if _, _, err := EncodeLeaf(inodes[:n+1], p); err != nil {
				break
			}
			n++
			if (testHasher{}).MapHash(0, inodes[n-1].Number)%(1<<p.LeafBits) == 0 {
				break
			}
		}
		refs, payload, _ := EncodeLeaf(inodes[:n], p)
		id, _ := m.Put(ctx, object.KindInodes, refs, payload)
		level = append(level, imapChild{inodes[0].Number, id})
		inodes = inodes[n:]
	}
	for l := 1; ; l++ {
		var above []imapChild
		for len(level) > 0 {
			n := 1
			for n < len(level) {
				n++
				if (testHasher{}).MapHash(uint8(l), level[n-1].first)%(1<<p.LeafBits) == 0 {
					break
				}
			}
			refs, payload := (&imapNode{l, level[:n]}).encode()
			id, _ := m.Put(ctx, object.KindImap, refs, payload)
			above = append(above, imapChild{level[0].first, id})
			level = level[n:]
		}
		if len(above) == 1 {
			return above[0].id
		}
		level = above
	}
}

func TestMapFollowsTheFormat(t *testing.T) {
	p := testParams()
	rapid.Check(t, func(t *rapid.T) {
		m := newMemory()
		inodes := genInodes(1, 120, p).Draw(t, "inodes")
		got, err := buildMap(context.Background(), m, p, inodes)
		if want := referenceMap(p, m, inodes); err != nil || got != want {
			t.Fatalf("got %s, %v, want %s", got.Short(), err, want.Short())
		}
	})
}

func TestMapRoundTrip(t *testing.T) {
	ctx, p := context.Background(), testParams()
	rapid.Check(t, func(t *rapid.T) {
		inodes := genInodes(1, 120, p).Draw(t, "inodes")
		m := mustBuild(t, newMemory(), p, inodes)
		got := collect(t, m.All(ctx))
		if !slices.EqualFunc(got, inodes, func(a, b Inode) bool { return a.Equal(&b) }) {
			t.Fatalf("got %v, want %v", got, inodes)
		}
		want := make(map[uint64]*Inode)
		for i := range inodes {
			want[inodes[i].Number] = &inodes[i]
		}
		for n := range uint64(510) {
			got, ok, err := m.Get(ctx, n)
			if err != nil || ok != (want[n] != nil) || ok && !got.Equal(want[n]) {
				t.Fatalf("Get(%d) gives %v, %v, %v, want %v", n, got, ok, err, want[n])
			}
		}
	})
}

func sparseInodes(n int) []Inode {
	inodes := make([]Inode, n)
	for i := range inodes {
		inodes[i] = typicalInode(uint64(10*i + 1))
	}
	return inodes
}

func TestMapBuilderRefuses(t *testing.T) {
	ctx, p := context.Background(), testParams()
	if _, err := NewMapBuilder(newMemory(), testHasher{}, p).Finish(ctx); err == nil {
		t.Error("an empty map is made")
	}
	b := NewMapBuilder(newMemory(), testHasher{}, p)
	in := typicalInode(7)
	if err := b.Add(ctx, &in); err != nil {
		t.Fatal(err)
	}
	if err := b.Add(ctx, &in); err == nil {
		t.Error("a number is taken twice")
	}
}

// Sixteen levels are the most; the last of them holds one node.
func TestLevelLimit(t *testing.T) {
	ctx, p := context.Background(), testParams()
	b := NewMapBuilder(newMemory(), testHasher{}, p)
	if err := b.reuse(ctx, maxLevels-1, imapChild{1, testID(1)}); err != nil {
		t.Fatalf("a root of level %d: %v", maxLevels-1, err)
	}
	if err := b.reuse(ctx, maxLevels-1, imapChild{2, testID(2)}); err == nil {
		t.Errorf("two nodes of level %d are taken", maxLevels-1)
	}
	l := NewListBuilder(newMemory(), p)
	l.levels = make([]listLevel, maxLevels)
	l.levels[maxLevels-1].pending = []listEntry{{testID(1), 1}}
	if err := l.put(ctx, maxLevels-1); err != nil {
		t.Fatalf("a list of level %d: %v", maxLevels-1, err)
	}
	l.levels[maxLevels-1].pending = []listEntry{{testID(2), 1}}
	if err := l.put(ctx, maxLevels-1); err == nil {
		t.Errorf("two lists of level %d are taken", maxLevels-1)
	}
}

func TestForgedMapIsCorrupt(t *testing.T) {
	ctx, p, m := context.Background(), DefaultParams(), newMemory()
	leaf := func(numbers ...uint64) object.ID {
		var inodes []Inode
		for _, n := range numbers {
			inodes = append(inodes, Inode{Number: n, Type: TypeFIFO})
		}
		refs, payload, err := EncodeLeaf(inodes, p)
		if err != nil {
			t.Fatal(err)
		}
		id, _ := m.Put(ctx, object.KindInodes, refs, payload)
		return id
	}
	node := func(level int, children ...imapChild) object.ID {
		refs, payload := (&imapNode{level, children}).encode()
		id, _ := m.Put(ctx, object.KindImap, refs, payload)
		return id
	}
	left, right := imapChild{1, leaf(1, 2, 3)}, imapChild{7, leaf(7, 8, 9)}
	tests := []struct {
		name string
		root object.ID
		ok   bool
	}{
		{"right", node(1, left, right), true},
		{"one leaf", node(1, left), true},
		{"two levels", node(2, imapChild{1, node(1, left)}, imapChild{7, node(1, right)}), true},
		{"first number too low", node(1, left, imapChild{6, right.id}), false},
		{"first number too high", node(1, left, imapChild{8, right.id}), false},
		{"leaves overlap", node(1, imapChild{1, leaf(1, 2, 8)}, right), false},
		{"nodes overlap", node(2, imapChild{1, node(1, imapChild{1, leaf(1, 2, 8)})}, imapChild{7, node(1, right)}), false},
		{"node begins elsewhere", node(2, imapChild{1, node(1, left)}, imapChild{6, node(1, right)}), false},
		{"children past the next", node(2, imapChild{1, node(1, left, right)}, imapChild{5, node(1, imapChild{5, leaf(5)})}), false},
		{"a level left out", node(3, imapChild{1, node(1, left)}, imapChild{7, node(1, right)}), false},
		{"a root above one node", node(2, imapChild{1, node(1, left, right)}), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			fm := OpenMap(m, testHasher{}, p, tt.root)
			var all error
			for _, err := range fm.All(ctx) {
				all = err
			}
			if tt.ok && all != nil || !tt.ok && !errors.Is(all, ErrCorrupt) {
				t.Errorf("All gives %v, want ok = %v", all, tt.ok)
			}
			var get error
			for n := range uint64(12) {
				if _, _, err := fm.Get(ctx, n); err != nil {
					get = err
				}
			}
			if tt.ok && get != nil || !tt.ok && !errors.Is(get, ErrCorrupt) {
				t.Errorf("Get gives %v, want ok = %v", get, tt.ok)
			}
		})
	}
}

func TestMapIsSafeForConcurrentUse(t *testing.T) {
	ctx, p := context.Background(), DefaultParams()
	inodes := sparseInodes(5000)
	m := mustBuild(t, newMemory(), p, inodes)
	m.cache.limit = 100_000 // so that nodes come and go
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := g; i < len(inodes); i += 7 {
				got, ok, err := m.Get(ctx, inodes[i].Number)
				if err != nil || !ok || !got.Equal(&inodes[i]) {
					t.Errorf("Get(%d) gives %v, %v", inodes[i].Number, ok, err)
					return
				}
			}
		})
	}
	wg.Wait()
	if m.cache.cost > m.cache.limit || m.cache.cost <= 0 {
		t.Errorf("the cache holds %d bytes, want at most %d", m.cache.cost, m.cache.limit)
	}
	sum := 0
	for e := m.cache.order.Front(); e != nil; e = e.Next() {
		sum += e.Value.(*cachedNode).cost
	}
	if sum != m.cache.cost || len(m.cache.nodes) != m.cache.order.Len() {
		t.Errorf("the cache counts %d bytes of %d", m.cache.cost, sum)
	}
}

func TestMapPassesErrorsOn(t *testing.T) {
	ctx, p := context.Background(), DefaultParams()
	m := OpenMap(newMemory(), testHasher{}, p, testID(1))
	if _, _, err := m.Get(ctx, 1); !errors.Is(err, errNoObject) {
		t.Errorf("Get gives %v, want %v", err, errNoObject)
	}
	_, err := Update(ctx, m, newMemory(), changesOf([]Change{{math.MaxUint64, nil}}))
	if !errors.Is(err, errNoObject) {
		t.Errorf("Update gives %v, want %v", err, errNoObject)
	}
}
