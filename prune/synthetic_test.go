package prune

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"bluesky/index"
	"bluesky/object"
	"bluesky/pack"
	"bluesky/refcount"
	"bluesky/repo"
	"bluesky/store"

	"gocloud.dev/blob"
	"gocloud.dev/blob/driver"
)

// A synthetic is a repository of any size that takes no space: its ids, its
// refs, and so the headers of its segments follow from a formula, and bodies are
// never read. Only its runs are files.
//
// It is a number of backups, a run each. A backup stores blocks, leaves of 24 of
// them and 8 of earlier backups, nodes of 32 leaves and 4 of earlier backups, a
// root of all nodes, and a snapshot.
type synthetic struct {
	backups, blocks, leaves, nodes int // of each backup
}

// The levels of a backup.
const (
	synBlock = iota + 1
	synLeaf
	synNode
	synRoot
	synSnapshot
)

const (
	synLeafBlocks, synLeafShared = 24, 8
	synNodeLeaves, synNodeShared = 32, 4
)

var synRepository = object.RepositoryID{0x51, 0x17}

// newSynthetic returns one of about so many objects.
func newSynthetic(objects, backups int) *synthetic {
	s := &synthetic{backups: backups}
	s.leaves = max(objects/backups/(synLeafBlocks+1), 1)
	s.blocks = s.leaves * synLeafBlocks
	s.nodes = (s.leaves + synNodeLeaves - 1) / synNodeLeaves
	return s
}

// objects returns the exact number.
func (s *synthetic) objects() int { return s.backups * (s.blocks + s.leaves + s.nodes + 2) }

// count returns how many objects of a level a backup has, and how many of them
// stand in one segment.
func (s *synthetic) count(level int) (all, inSegment int) {
	switch level {
	case synBlock:
		return s.blocks, 16
	case synLeaf:
		return s.leaves, 256
	case synNode:
		return s.nodes, 256
	}
	return 1, 1
}

var synKinds = [...]object.Kind{
	synBlock: object.KindBlock, synLeaf: object.KindInodes, synNode: object.KindImap, synRoot: object.KindImap, synSnapshot: object.KindSnapshot,
}

// mix is the finalizer of SplitMix64.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

func synNumber(backup, level, i int) uint64 {
	return uint64(backup)<<40 | uint64(level)<<36 | uint64(i)
}

func synID(backup, level, i int) (id object.ID) {
	x := synNumber(backup, level, i)
	for at := 0; at < len(id); at += 8 {
		x = mix(x)
		binary.LittleEndian.PutUint64(id[at:], x)
	}
	return id
}

func synLength(backup, level, i int) uint32 {
	if level != synBlock {
		return 2000
	}
	return 700_000 + uint32(mix(synNumber(backup, level, i))%600_000)
}

// refs appends those of an object to dst.
func (s *synthetic) refs(backup, level, i int, dst []object.ID) []object.ID {
	own, shared := 0, 0
	switch level {
	case synLeaf:
		own, shared = synLeafBlocks, synLeafShared
	case synNode:
		own, shared = synNodeLeaves, synNodeShared
	case synRoot:
		own = s.nodes
	case synSnapshot:
		own = 1
	default:
		return dst
	}
	below, _ := s.count(level - 1)
	for k := i * own; k < min((i+1)*own, below); k++ {
		dst = append(dst, synID(backup, level-1, k))
	}
	start := len(dst)
	for k := 0; k < shared && backup > 0; k++ {
		x := mix(synNumber(backup, level, i) ^ uint64(k)<<50)
		id := synID(int(x%uint64(backup)), level-1, int(x>>32%uint64(below)))
		if !slices.Contains(dst[start:], id) {
			dst = append(dst, id)
		}
	}
	return dst
}

// synName names segment n of a level of a backup.
func synName(backup, level, n int) (name pack.Name) {
	binary.LittleEndian.PutUint32(name[:], uint32(backup))
	name[4] = byte(level)
	binary.LittleEndian.PutUint32(name[8:], uint32(n))
	return name
}

// members returns the range of objects in a segment.
func (s *synthetic) members(level, n int) (from, to int) {
	all, each := s.count(level)
	return n * each, min((n+1)*each, all)
}

// head returns prelude ‖ header of a segment. docs/format.md, "Segment".
func (s *synthetic) head(backup, level, n int) []byte {
	from, to := s.members(level, n)
	var refs []object.ID
	ends := make([]int, 0, to-from)
	body := uint64(0)
	for i := from; i < to; i++ {
		refs = s.refs(backup, level, i, refs)
		ends = append(ends, len(refs))
		body += uint64(synLength(backup, level, i))
	}
	external := slices.Clone(refs)
	slices.SortFunc(external, object.ID.Compare)
	external = slices.Compact(external)

	class := synKinds[level].Class()
	session := object.SessionID{1, byte(backup), byte(backup >> 8)}
	le := binary.LittleEndian
	h := append([]byte(nil), synRepository[:]...)
	h = append(h, session[:]...)
	h = append(h, byte(class), byte(object.SessionDerived), 0, 0, 0, 0, 0, 0)
	for i, start := from, 0; i < to; i++ {
		id := synID(backup, level, i)
		sum := synSum(id)
		h = append(append(h, id[:]...), sum[:]...)
		h = append(h, byte(synKinds[level]), 0, 0)
		h = le.AppendUint32(h, synLength(backup, level, i))
		end := ends[i-from]
		h = binary.AppendUvarint(h, uint64(end-start))
		for _, ref := range refs[start:end] {
			at, _ := slices.BinarySearchFunc(external, ref, object.ID.Compare)
			h = binary.AppendUvarint(h, uint64(to-from+at))
		}
		start = end
	}
	for i := range external {
		h = append(h, external[i][:]...)
	}
	p := pack.Prelude{
		Name: synName(backup, level, n), Class: class, HeaderLength: uint32(len(h)), SessionCount: 1,
		ObjectCount: uint32(to - from), ExternalCount: uint32(len(external)), BodyLength: body,
	}
	return append(p.Append(nil), h...)
}

func synSum(id object.ID) object.Sum { return object.Sum(id[16:]) }

// GetRange makes s a [pack.ReaderAt] of headers.
func (s *synthetic) GetRange(ctx context.Context, key string, off, n int64) ([]byte, error) {
	name, err := pack.ParseKey(key)
	if err != nil {
		return nil, err
	}
	le := binary.LittleEndian
	head := s.head(int(le.Uint32(name[:])), int(name[4]), int(le.Uint32(name[8:])))
	if off+n > int64(len(head)) {
		return nil, fmt.Errorf("%s: %d bytes at %d: only its header is there", key, n, off)
	}
	return head[off : off+n], ctx.Err()
}

// run makes the run of a backup, as a mapped file in folder.
func (s *synthetic) run(tb testing.TB, folder string, backup int) *index.Run {
	tb.Helper()
	b := &index.Builder{}
	for level := synBlock; level <= synSnapshot; level++ {
		all, each := s.count(level)
		for n := range (all + each - 1) / each {
			head := s.head(backup, level, n)
			p, err := pack.DecodePrelude(head, int64(len(head))+bodyLength(head)+pack.TrailerSize)
			if err != nil {
				tb.Fatal(err)
			}
			at, err := b.Keep(synRepository, index.Segment{
				Name: p.Name, Size: p.Size(), HeaderLength: p.HeaderLength, Class: p.Class,
				HeaderHash: pack.HeaderHash(head), Session: object.SessionID{1, byte(backup), byte(backup >> 8)},
			})
			if err != nil {
				tb.Fatal(err)
			}
			offset := uint32(p.HeadSize())
			for from, to := s.members(level, n); from < to; from++ {
				id := synID(backup, level, from)
				length := synLength(backup, level, from)
				b.KeepRow(index.Row{ID: id, Sum: synSum(id), Offset: offset, Length: length, Kind: synKinds[level]}, at)
				offset += length
			}
		}
	}
	name := index.RunName{5, byte(backup), byte(backup >> 8)}
	data, hash, err := b.Encode(synRepository, name)
	if err != nil {
		tb.Fatal(err)
	}
	path := filepath.Join(folder, name.String())
	if err := os.WriteFile(path, data, 0o600); err != nil {
		tb.Fatal(err)
	}
	run, err := index.OpenFile(path, index.Meta{Repository: synRepository, Name: name, Size: int64(len(data)), Hash: hash})
	if err != nil {
		tb.Fatal(err)
	}
	return run
}

// bodyLength reads that of a prelude.
func bodyLength(head []byte) int64 { return int64(binary.LittleEndian.Uint64(head[32:])) }

// view makes the runs and what is visible. Nothing is counted yet: Fold is 0.
func (s *synthetic) view(tb testing.TB) View {
	tb.Helper()
	folder := tb.TempDir()
	v := View{State: &repo.State{Repository: synRepository, Generation: uint64(s.backups)}}
	var parts []index.Part
	for backup := range s.backups {
		run := s.run(tb, folder, backup)
		at := uint64(backup + 1)
		v.Runs = append(v.Runs, run)
		parts = append(parts, index.Part{Run: run, At: at})
		v.State.Runs = append(v.State.Runs, repo.Run{AddRun: repo.AddRun{Name: run.Name(), Size: uint64(run.Size()), Hash: run.Hash()}, Generation: at})
		v.State.Snapshots = append(v.State.Snapshots, repo.Snapshot{
			AddSnapshot: repo.AddSnapshot{ID: synID(backup, synSnapshot, 0), Root: synID(backup, synRoot, 0), Time: object.TimeOf(testTime)},
			Generation:  at,
		})
	}
	v.Index = index.New(parts, nil)
	return v
}

// base makes what a plan stands on: a repository whose segments have headers,
// and whose state is that of view. All else is in bucket.
func (s *synthetic) base(tb testing.TB, bucket driver.Bucket) *base {
	tb.Helper()
	v := s.view(tb)
	st := store.New(blob.NewBucket(&synBucket{bucket, s}), "synthetic")
	tb.Cleanup(func() { st.Close() })
	creation, err := repo.Prepare(tb.Context(), st, repo.DefaultConfig(synRepository, testTime))
	if err == nil {
		err = creation.Genesis(rand.NewChaCha8([32]byte{1}), admin, pub(writerKey), pub(cleaner))
	}
	if err == nil {
		err = creation.Commit(tb.Context())
	}
	if err != nil {
		tb.Fatal(err)
	}
	r, err := repo.Open(tb.Context(), st, repo.Options{})
	if err != nil {
		tb.Fatal(err)
	}
	b := &base{repo: r, state: v.State, view: v.Index, runs: v.Runs, expired: map[object.SessionID]bool{}}
	b.headers = headers{base: b, known: map[pack.Name]*pack.Header{}}
	if b.counts, err = refcount.LoadCounts(synRepository, nil, nil); err != nil {
		tb.Fatal(err)
	}
	if b.space, err = refcount.OpenSpace(tb.Context(), st, synRepository, nil); err != nil {
		tb.Fatal(err)
	}
	return b
}

// A synBucket has the headers of a synthetic in seg/, and a bucket for the rest.
type synBucket struct {
	driver.Bucket
	of *synthetic
}

func (b *synBucket) NewRangeReader(ctx context.Context, key string, off, n int64, o *driver.ReaderOptions) (driver.Reader, error) {
	if !strings.HasPrefix(key, "seg/") {
		return b.Bucket.NewRangeReader(ctx, key, off, n, o)
	}
	data, err := b.of.GetRange(ctx, key, off, n)
	if err != nil {
		return nil, err
	}
	return &synReader{Reader: bytes.NewReader(data), size: off + n}, nil
}

type synReader struct {
	*bytes.Reader
	size int64
}

var _ driver.Reader = (*synReader)(nil)

func (r *synReader) Close() error { return nil }
func (r *synReader) As(any) bool  { return false }
func (r *synReader) Attributes() *driver.ReaderAttributes {
	return &driver.ReaderAttributes{Size: r.size}
}

// WriteTo is none: the store reads what it has asked for.
func (r *synReader) WriteTo(w io.Writer) (int64, error) {
	return io.Copy(w, struct{ io.Reader }{r.Reader})
}
