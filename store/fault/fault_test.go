package fault_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"bluesky/store"
	"bluesky/store/fault"
	"bluesky/store/local"
	"bluesky/store/storetest"

	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"
)

// Without faults it is a bucket like any other.
func TestWithoutFaults(t *testing.T) {
	storetest.Run(t, func(t *testing.T) *store.Store {
		return store.New(blob.NewBucket(fault.New()), "memory")
	})
}

func TestWrapped(t *testing.T) {
	folder, err := local.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	b := fault.Wrap(folder)
	bucket := blob.NewBucket(b)
	defer bucket.Close()
	b.Inject(fault.Rules(fault.Rule{Kinds: fault.Create, Effect: fault.Delay(0)}))
	if err := create(t, bucket, "gen/0", "late"); !errors.Is(err, fault.ErrBroken) {
		t.Errorf("a delayed put: %v", err)
	}
	if _, err := bucket.ReadAll(t.Context(), "gen/0"); gcerrors.Code(err) != gcerrors.NotFound {
		t.Errorf("before it is executed: %v", err)
	}
	if n := b.Settle(); n != 1 {
		t.Errorf("%d writes were delayed", n)
	}
	if data, err := bucket.ReadAll(t.Context(), "gen/0"); string(data) != "late" {
		t.Errorf("then: %q, %v", data, err)
	}
}

func create(t *testing.T, b *blob.Bucket, key, data string) error {
	t.Helper()
	w, err := b.NewWriter(t.Context(), key, &blob.WriterOptions{IfNotExist: true, ContentType: "application/octet-stream"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(w, data); err != nil {
		t.Fatal(err)
	}
	return w.Close()
}

// bed returns a bucket with the object "key", 0123456789, and what reads it.
func bed(t *testing.T, rules ...fault.Rule) (*fault.Bucket, *blob.Bucket) {
	t.Helper()
	b := fault.New()
	b.Objects.Set("key", []byte("0123456789"))
	b.Inject(fault.Rules(rules...))
	return b, blob.NewBucket(b)
}

func TestReadEffects(t *testing.T) {
	tests := []struct {
		effect       fault.Effect
		whole, third string // what comes of the object, and of its bytes 3 to 5
		size         int64
		err          error
		code         gcerrors.ErrorCode
	}{
		{effect: fault.None, whole: "0123456789", third: "345", size: 10},
		{effect: fault.BreakOff(12), whole: "01", third: "", size: 10, err: fault.ErrBroken},
		{effect: fault.Short(4), whole: "0123", third: "3", size: 10},
		{effect: fault.Flip(8), whole: "0023456789", third: "355", size: 10},
		{effect: fault.Truncate(14), whole: "0123", third: "3", size: 4},
		{effect: fault.Refuse, err: fault.ErrRefused, code: gcerrors.PermissionDenied},
		{effect: fault.Fail, err: fault.ErrBroken, code: gcerrors.Unknown},
		{effect: fault.Lose, err: fault.ErrBroken, code: gcerrors.Unknown},
		{effect: fault.Fail.With(fault.Coded(gcerrors.Internal)), err: fault.Coded(gcerrors.Internal), code: gcerrors.Internal},
		{effect: fault.Absent, code: gcerrors.NotFound},
	}
	for _, tt := range tests {
		t.Run(tt.effect.String(), func(t *testing.T) {
			b, bucket := bed(t, fault.Rule{Effect: tt.effect})
			whole, _, err := readAll(t, bucket, 0, -1)
			third, size, rangeErr := readAll(t, bucket, 3, 3)
			if whole != tt.whole || third != tt.third || size != tt.size {
				t.Errorf("got %q and %q of %d, want %q and %q of %d", whole, third, size, tt.whole, tt.third, tt.size)
			}
			for _, err := range []error{err, rangeErr} {
				if !errors.Is(err, tt.err) && tt.err != nil || tt.code != gcerrors.OK && gcerrors.Code(err) != tt.code {
					t.Errorf("got %v, want %v of code %v", err, tt.err, tt.code)
				}
			}
			if got := string(b.Objects.Get("key")); got != "0123456789" {
				t.Errorf("the object is %q now", got)
			}
		})
	}
}

func readAll(t *testing.T, b *blob.Bucket, off, n int64) (string, int64, error) {
	t.Helper()
	r, err := b.NewRangeReader(t.Context(), "key", off, n, nil)
	if err != nil {
		return "", 0, err
	}
	defer r.Close()
	data, err := io.ReadAll(r)
	return string(data), r.Size(), err
}

func TestWriteEffects(t *testing.T) {
	b, bucket := bed(t,
		fault.Rule{Prefix: "refused", Effect: fault.Refuse},
		fault.Rule{Prefix: "lost", Effect: fault.Lose},
		fault.Rule{Prefix: "delayed", Effect: fault.Delay(2), Times: 1},
		fault.Rule{Prefix: "lag", Effect: fault.Lag(2)})
	for key, want := range map[string]error{"refused": fault.ErrRefused, "lost": fault.ErrBroken, "lag": nil, "delayed": fault.ErrBroken} {
		if err := create(t, bucket, key, key); !errors.Is(err, want) {
			t.Errorf("%s: got %v, want %v", key, err, want)
		}
		b.Settle()
	}
	if got := b.Objects.Keys(""); !slices.Equal(got, []string{"delayed", "key", "lag", "lost"}) {
		t.Errorf("there are %q", got)
	}
}

// A delayed create is executed after as many operations, and does nothing if
// its name is taken then.
func TestDelay(t *testing.T) {
	for _, taken := range []bool{false, true} {
		b, bucket := bed(t, fault.Rule{Kinds: fault.Create, Times: 1, Effect: fault.Delay(2)})
		if err := create(t, bucket, "gen/1", "first"); err == nil {
			t.Error("acknowledged")
		}
		want := []bool{false, false, true}
		for i := range want {
			if there, err := bucket.Exists(t.Context(), "gen/1"); there != want[i] && !taken || err != nil {
				t.Errorf("after %d operations it is there: %v, %v", i, there, err)
			}
			if taken && i == 0 {
				if err := create(t, bucket, "gen/1", "second"); err != nil {
					t.Fatal(err)
				}
			}
		}
		if got := string(b.Objects.Get("gen/1")); got != map[bool]string{false: "first", true: "second"}[taken] {
			t.Errorf("taken %v: it is %q", taken, got)
		}
	}
}

// What lags is taken from the first moment on, and seen later.
func TestLag(t *testing.T) {
	b, bucket := bed(t, fault.Rule{Kinds: fault.Create, Times: 1, Effect: fault.Lag(3)})
	if err := create(t, bucket, "gen/1", "first"); err != nil {
		t.Fatal(err)
	}
	if err := create(t, bucket, "gen/1", "second"); gcerrors.Code(err) != gcerrors.FailedPrecondition {
		t.Errorf("a second create: %v", err)
	}
	if _, err := bucket.ReadAll(t.Context(), "gen/1"); gcerrors.Code(err) != gcerrors.NotFound {
		t.Errorf("read: %v", err)
	}
	if got := list(t, bucket); !slices.Equal(got, []string{"key"}) {
		t.Errorf("listed are %q", got)
	}
	if got := list(t, bucket); !slices.Equal(got, []string{"gen/1", "key"}) {
		t.Errorf("then %q; log %v", got, b.Log())
	}
}

func list(t *testing.T, b *blob.Bucket) (keys []string) {
	t.Helper()
	objects, _, err := b.ListPage(t.Context(), blob.FirstPageToken, 100, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range objects {
		keys = append(keys, o.Key)
	}
	return keys
}

func TestListEffects(t *testing.T) {
	for _, tt := range []struct {
		effect fault.Effect
		want   []string
	}{
		{fault.Stale(2), []string{"a", "b"}},
		{fault.Omit(4), []string{"a", "key"}},
		{fault.Repeat(2), []string{"a", "b", "key", "key"}},
		{fault.Flip(1), []string{"a", "b", "key"}}, // none for listings
	} {
		b, bucket := bed(t, fault.Rule{Effect: tt.effect})
		b.Objects.Set("a", nil)
		b.Objects.Set("b", nil)
		if got := list(t, bucket); !slices.Equal(got, tt.want) {
			t.Errorf("%v: got %q, want %q", tt.effect, got, tt.want)
		}
	}
	_, bucket := bed(t, fault.Rule{Kinds: fault.List, Effect: fault.Fail})
	if _, _, err := bucket.ListPage(t.Context(), blob.FirstPageToken, 100, nil); !errors.Is(err, fault.ErrBroken) {
		t.Errorf("a listing that fails: %v", err)
	}
}

func TestSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, bucket := bed(t, fault.Rule{Effect: fault.Slow(time.Hour)})
		start := time.Now()
		if _, err := bucket.ReadAll(t.Context(), "key"); err != nil || time.Since(start) != time.Hour {
			t.Errorf("took %v, error %v", time.Since(start), err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := bucket.ReadAll(ctx, "key"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("impatient: %v", err)
		}
	})
	gate := make(chan struct{})
	_, bucket := bed(t, fault.Rule{Effect: fault.Wait(gate)})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := bucket.ReadAll(ctx, "key"); err == nil {
		t.Error("read through a closed gate")
	}
	close(gate)
	if _, err := bucket.ReadAll(t.Context(), "key"); err != nil {
		t.Errorf("through an open one: %v", err)
	}
}

func TestRules(t *testing.T) {
	plan := fault.Rules(
		fault.Rule{Kinds: fault.Get | fault.Range, Prefix: "seg/", After: 1, Times: 2, Effect: fault.Fail},
		fault.Rule{Prefix: "seg/", Effect: fault.Flip(1)},
		fault.Rule{Prefix: "gen/", After: 1, Effect: fault.Absent})
	for i, tt := range []struct {
		kind fault.Kind
		key  string
		want fault.Effect
	}{
		{fault.Get, "seg/1", fault.Flip(1)},
		{fault.Stat, "seg/1", fault.None},
		{fault.Range, "seg/1", fault.Fail},
		{fault.Get, "idx/1", fault.None},
		{fault.Get, "seg/2", fault.Fail},
		{fault.Get, "seg/2", fault.Flip(1)},
		{fault.Get, "gen/0", fault.None},
		{fault.Create, "gen/0", fault.None},
		{fault.Stat, "gen/0", fault.Absent},
	} {
		if got := plan(fault.Op{N: i, Kind: tt.kind, Key: tt.key}); got != tt.want {
			t.Errorf("%d, %v %s: got %v, want %v", i, tt.kind, tt.key, got, tt.want)
		}
	}
}

// Equal seeds make equal faults, whatever the random part of the names and
// whatever comes in between.
func TestRandom(t *testing.T) {
	chances := []fault.Chance{{0.2, fault.Fail}, {0.2, fault.Flip(0)}, {0.1, fault.Lose}, {0.3, fault.Omit(0)}}
	first, second, other := fault.Random(7, chances...), fault.Random(7, chances...), fault.Random(8, chances...)
	struck, equal := map[string]int{}, 0
	for i := range 1000 {
		for _, kind := range []fault.Kind{fault.Get, fault.List, fault.Create} {
			op := fault.Op{Kind: kind, Key: fmt.Sprintf("seg/%d", i)}
			second(fault.Op{Kind: kind, Key: "idx/other"})
			a := first(op)
			op.Key = "seg/random"
			if b := second(op); a != b {
				t.Fatalf("%v %d: %v and %v", kind, i, a, b)
			}
			if a == other(op) {
				equal++
			}
			if a != fault.None {
				struck[fmt.Sprint(kind, " ", fault.Effect.String(a)[:4])]++
			}
			if a.Kinds()&kind == 0 && a != fault.None {
				t.Fatalf("%v for a %v", a, kind)
			}
		}
	}
	if struck["get fail"] < 150 || struck["get fail"] > 250 || struck["get flip"] < 110 || struck["list omit"] == 0 || equal > 2500 {
		t.Errorf("struck %v, %d as with another seed", struck, equal)
	}
}

// A sweep strikes each operation once, in each way.
func TestSweep(t *testing.T) {
	var cases []string
	for s := range fault.Sweep(fault.Ways, nil) {
		b, bucket := bed(t)
		b.Inject(s.Plan)
		_, readErr := bucket.ReadAll(t.Context(), "key")
		writeErr := create(t, bucket, "new", "x")
		againErr := create(t, bucket, "newer", "x")
		b.Inject(nil)
		b.Settle()
		if !s.Struck() {
			if err := errors.Join(readErr, writeErr, againErr); err != nil {
				t.Errorf("%v: %v", s, err)
			}
			continue
		}
		cases = append(cases, fmt.Sprint(s.Way.Name, " ", s.Op().Key, " ", b.Objects.Keys("new")))
	}
	want := []string{
		"refused key [new newer]", "refused new [newer]", "refused newer [new]",
		"reply lost new [new newer]", "reply lost newer [new newer]",
		"reply lost and done later new [new newer]", "reply lost and done later newer [new newer]",
		"killed before key []", "killed before new []", "killed before newer [new]",
		"killed after new [new]", "killed after newer [new newer]",
		"killed and done later new [new]", "killed and done later newer [new newer]",
		"killed and done last new [new]", "killed and done last newer [new newer]",
	}
	if !slices.Equal(cases, want) {
		t.Errorf("got %q, want %q", cases, want)
	}
}

func TestLog(t *testing.T) {
	b, bucket := bed(t, fault.Rule{Kinds: fault.Create, After: 1, Effect: fault.Refuse})
	_ = create(t, bucket, "seg/1", "four")
	_ = create(t, bucket, "seg/2", "no")
	_, _, _ = readAll(t, bucket, 2, 5)
	if n, bytes := b.Count(fault.Create, "seg/"); n != 2 || bytes != 6 {
		t.Errorf("%d creates of %d bytes", n, bytes)
	}
	if n, bytes := b.Count(fault.Any, ""); n != 3 || bytes != 11 {
		t.Errorf("%d operations of %d bytes", n, bytes)
	}
	struck := b.Struck()
	if len(struck) != 1 || struck[0].String() != "operation 2, create seg/2: refused" || !errors.Is(struck[0].Err, fault.ErrRefused) {
		t.Errorf("struck %v", struck)
	}
	b.Inject(nil)
	if len(b.Log()) != 0 {
		t.Error("the log goes on")
	}
}

// A test may say when an object was put, for copies that have lost their times.
func TestSetTime(t *testing.T) {
	m := fault.NewMemory()
	m.Set("a", []byte("1"))
	for _, key := range []string{"a", "absent"} {
		m.SetTime(key, time.Unix(5, 0))
	}
	a, err := m.Attributes(t.Context(), "a")
	if err != nil || !a.ModTime.Equal(time.Unix(5, 0)) || len(m.Keys("")) != 1 || string(m.Get("a")) != "1" {
		t.Errorf("%+v, %v, objects %v", a, err, m.All())
	}
}
