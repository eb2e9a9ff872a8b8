package repo

import (
	"bytes"
	"testing"

	"bluesky/object"
)

// vectorPolicy is a policy with something in every field.
func vectorPolicy() *ForgetPolicy {
	span := func(n uint32) *Duration {
		return &Duration{Years: n, Months: n + 1, Days: n + 2, Hours: n + 3, Seconds: n + 4}
	}
	return &ForgetPolicy{1, 2, 3, 4, 5, Unlimited, &Duration{}, span(1), span(2), span(3), span(4), &Duration{Years: Unlimited}}
}

// vectorClean is a clean with something in every field.
func vectorClean() *Clean {
	return &Clean{
		Fold: 6, Collected: ids(3, 4), Expired: sessions(1, 2), Pending: sessions(1, 3),
		Times:     []StoreTime{{ID: object.ID{5}, Time: object.Time{Sec: -1, Nsec: 1}}, {ID: object.ID{6}, Time: at(7)}},
		Condemned: []Name{name(0, 1), name(0, 2), name(1, 1), name(2, 1), name(3, 1)},
		Runs:      []AddRun{*run(1), *run(2)},
		Marks:     tables(1, 9), Counts: tables(3), Space: tables(4),
	}
}

// vectorCleaned is a state with something in every field that cleans, pins and
// policies fill.
func vectorCleaned(t testing.TB) *State {
	l := cleaned(t)
	pinned := snap(7)
	pinned.Pinned = true
	l.mustFold(writer, statement(t, writer, 7, 1, OpAddSnapshot, pinned))
	l.mustFold(admin,
		plainOp(t, OpUnpin, &SnapshotList{ids(7)}),
		statement(t, admin, 8, 1, OpPolicy, &Policy{86400}),
		plainOp(t, OpForget, &Forget{ids(6), vectorPolicy()}),
		plainOp(t, OpFloor, &Floor{3}))
	return l.state
}

func (d *defector) cleanedCheckpoints() {
	const of = "valid-checkpoint-cleaned"
	type record = map[any]any
	at := func(m map[uint64]any, key uint64, i int) record { return m[key].([]any)[i].(record) }
	pair := func(m map[uint64]any, key uint64, i int) []any { return m[key].([]any)[i].([]any) }
	edit := func(name string, fn func(m map[uint64]any)) { d.edit("corrupt-checkpoint-"+name, of, fn) }
	swap := func(m map[uint64]any, key uint64) { l := m[key].([]any); l[0], l[1] = l[1], l[0] }
	id := func(n byte) []byte { return append([]byte{n}, make([]byte, 31)...) }

	edit("forgotten-before-it-was-added", func(m map[uint64]any) { at(m, 17, 0)[uint64(2)] = 2 })
	edit("forgotten-later-than-it", func(m map[uint64]any) { at(m, 17, 0)[uint64(2)] = 1000 })
	edit("forgotten-and-live", func(m map[uint64]any) {
		m[11] = append([]any{at(m, 17, 0)[uint64(1)]}, m[11].([]any)...)
	})
	edit("forgotten-and-pinned", func(m map[uint64]any) {
		m[19] = append([]any{[]any{id(3), true}}, m[19].([]any)...)
	})
	edit("forgotten-is-a-run", func(m map[uint64]any) { at(m, 17, 0)[uint64(1)] = m[10].([]any)[0] })
	edit("forgotten-by-unknown-policy", func(m map[uint64]any) { at(m, 17, 1)[uint64(3)] = map[uint64]any{13: 1} })
	edit("time-of-unknown-snapshot", func(m map[uint64]any) { pair(m, 18, 1)[0] = id(99) })
	edit("time-impossible", func(m map[uint64]any) { pair(m, 18, 0)[1] = []any{1, 1_000_000_000} })
	edit("times-out-of-order", func(m map[uint64]any) { swap(m, 18) })
	edit("pin-that-changes-nothing", func(m map[uint64]any) { pair(m, 19, 0)[1] = false })
	edit("pin-of-unknown-snapshot", func(m map[uint64]any) { pair(m, 19, 1)[0] = id(99) })
	edit("pins-out-of-order", func(m map[uint64]any) { swap(m, 19) })
	edit("condemned-in-folder-4", func(m map[uint64]any) { at(m, 13, 3)[uint64(3)] = 4 })
	edit("condemned-folder-0-written", func(m map[uint64]any) { at(m, 13, 0)[uint64(3)] = 0 })
	edit("condemned-folders-out-of-order", func(m map[uint64]any) { swap(m, 13) })
	edit("condemned-later-than-it", func(m map[uint64]any) { at(m, 13, 0)[uint64(2)] = 1000 })
	edit("condemned-run-is-registered", func(m map[uint64]any) { at(m, 13, 1)[uint64(1)] = id(20)[:16] })
	edit("condemned-table-is-listed", func(m map[uint64]any) { at(m, 13, 2)[uint64(1)] = id(2)[:16] })
	edit("condemned-checkpoint-is-the-newest", func(m map[uint64]any) { at(m, 13, 3)[uint64(1)] = id(0x51)[:16] })
	edit("run-of-a-clean-twice", func(m map[uint64]any) { m[10] = append(m[10].([]any), m[10].([]any)[1]) })
	edit("run-of-a-clean-out-of-order", func(m map[uint64]any) { swap(m, 10) })
	edit("run-of-a-clean-later-than-it", func(m map[uint64]any) { at(m, 10, 1)[uint64(1)] = 1000 })
	edit("run-of-a-clean-holds-a-clean", func(m map[uint64]any) { at(m, 10, 1)[uint64(2)].(record)[uint64(3)] = d.valid["valid-clean-full"] })
	edit("run-of-a-clean-of-version-2", func(m map[uint64]any) { at(m, 10, 1)[uint64(2)].(record)[uint64(2)] = 2 })
	edit("fold-at-its-number", func(m map[uint64]any) { m[15] = m[3] })
	edit("fold-beyond-its-number", func(m map[uint64]any) { m[15] = 1000 })
	edit("fold-0-written", func(m map[uint64]any) { m[15] = 0 })
	edit("floor-beyond-what-is-counted", func(m map[uint64]any) { m[8] = 5 })
	edit("floor-without-a-checkpoint", func(m map[uint64]any) { delete(m, 7) })
	edit("pending-twice", func(m map[uint64]any) { m[16] = append(m[16].([]any), m[16].([]any)[0]) })
	edit("table-twice", func(m map[uint64]any) { m[20] = append(m[20].([]any), m[20].([]any)[0]) })
	edit("table-in-two-lists", func(m map[uint64]any) { m[21] = m[20] })
	edit("table-of-no-size", func(m map[uint64]any) { at(m, 22, 0)[uint64(2)] = 0 })
	edit("policy-is-a-role", func(m map[uint64]any) { m[23] = m[9].([]any)[0] })
	edit("policy-later-than-it", func(m map[uint64]any) { m[23].(record)[uint64(1)] = 1000 })
	edit("policy-signature", func(m map[uint64]any) {
		op := m[23].(record)[uint64(2)].(record)
		body := bytes.Clone(op[uint64(3)].([]byte))
		body[len(body)-1] ^= 1
		op[uint64(3)] = body
	})
}

func (d *defector) cleanBodies() {
	edit := func(kind, of, defect string, fn func(m map[uint64]any)) {
		d.edit("corrupt-"+kind+"-"+defect, "valid-"+kind+"-"+of, fn)
	}
	short := make([]byte, 31)
	edit("forget", "by-id", "unknown-member", func(m map[uint64]any) { m[3] = 1 })
	edit("forget", "by-id", "id-of-31", func(m map[uint64]any) { m[1] = []any{short} })
	edit("forget", "by-id", "no-snapshots-written", func(m map[uint64]any) { m[1] = []any{} })
	edit("forget", "policy", "policy-as-array", func(m map[uint64]any) { m[2] = []any{1} })
	edit("forget", "policy", "policy-null", func(m map[uint64]any) { m[2] = nil })
	d.made["corrupt-forget-ids-past-end"] = []byte{0xa1, 0x01, 0x9a, 0x00, 0xff, 0xff, 0xff}
	edit("forgetpolicy", "full", "unknown-member", func(m map[uint64]any) { m[13] = 1 })
	edit("forgetpolicy", "full", "last-0-written", func(m map[uint64]any) { m[1] = 0 })
	edit("forgetpolicy", "full", "count-of-33-bits", func(m map[uint64]any) { m[6] = uint64(1) << 32 })
	edit("forgetpolicy", "full", "count-negative", func(m map[uint64]any) { m[2] = -1 })
	edit("forgetpolicy", "full", "duration-of-4", func(m map[uint64]any) { m[7] = []any{1, 1, 1, 1} })
	edit("forgetpolicy", "full", "duration-of-6", func(m map[uint64]any) { m[7] = []any{1, 1, 1, 1, 1, 1} })
	edit("forgetpolicy", "full", "duration-negative", func(m map[uint64]any) { m[12] = []any{0, 0, 0, -1, 0} })
	edit("snapshots", "2", "unknown-member", func(m map[uint64]any) { m[2] = 1 })
	edit("snapshots", "2", "id-of-31", func(m map[uint64]any) { m[1] = []any{short} })
	edit("clean", "full", "unknown-member", func(m map[uint64]any) { m[11] = 1 })
	edit("clean", "full", "fold-0-written", func(m map[uint64]any) { m[1] = 0 })
	edit("clean", "full", "session-of-31", func(m map[uint64]any) { m[3] = []any{short} })
	edit("clean", "full", "time-without-id", func(m map[uint64]any) { m[5] = []any{[]any{[]any{1, 1}}} })
	edit("clean", "full", "name-of-3", func(m map[uint64]any) { m[6] = []any{[]any{0, short[:16], 0}} })
	edit("clean", "full", "name-of-15-bytes", func(m map[uint64]any) { m[6] = []any{[]any{0, short[:15]}} })
	edit("clean", "full", "folder-of-nine-bits", func(m map[uint64]any) { m[6] = []any{[]any{256, short[:16]}} })
	edit("clean", "full", "run-without-hash", func(m map[uint64]any) { delete(m[7].([]any)[0].(map[any]any), uint64(3)) })
	edit("clean", "full", "table-with-more", func(m map[uint64]any) { m[8].([]any)[0].(map[any]any)[uint64(4)] = 1 })
	edit("clean", "full", "table-size-of-64-bits", func(m map[uint64]any) { m[9].([]any)[0].(map[any]any)[uint64(2)] = uint64(1) << 63 })
	edit("clean", "full", "no-space-written", func(m map[uint64]any) { m[10] = []any{} })
	d.made["corrupt-clean-names-past-end"] = []byte{0xa1, 0x06, 0x9a, 0x00, 0xff, 0xff, 0xff}
	edit("deleted", "each-folder", "unknown-member", func(m map[uint64]any) { m[2] = 1 })
	edit("deleted", "each-folder", "name-as-bytes", func(m map[uint64]any) { m[1] = []any{short[:17]} })
	edit("policy", "quarantine", "unknown-member", func(m map[uint64]any) { m[2] = 1 })
	edit("policy", "quarantine", "0-written", func(m map[uint64]any) { m[1] = 0 })
	edit("policy", "quarantine", "negative", func(m map[uint64]any) { m[1] = -1 })
	edit("floor", "64", "no-number", func(m map[uint64]any) { delete(m, 1) })
	edit("floor", "64", "unknown-member", func(m map[uint64]any) { m[2] = 1 })
	edit("void", "7", "no-number", func(m map[uint64]any) { delete(m, 1) })
	edit("void", "7", "no-hash", func(m map[uint64]any) { delete(m, 2) })
	edit("void", "7", "hash-of-31", func(m map[uint64]any) { m[2] = short })
}

// FuzzFold folds the body of an op of any type into a state that has something
// of everything: what is not void leaves a state with a checkpoint that reads
// back, and the state that it started from as it was.
func FuzzFold(f *testing.F) {
	seedOps(f)
	c := chaos{t: f, random: newRandom(1)}
	l := cleaned(f)
	for range 500 {
		op := c.op(l.state, admin)
		f.Add(uint16(op.Type), op.Body)
	}
	was := encodeState(f, l.state)
	f.Fuzz(func(t *testing.T, typ uint16, data []byte) {
		op := Op{OpType(typ), opVersion, data}
		if !op.known() {
			return
		}
		after := l.state.clone()
		after.Generation++
		g := &Generation{Number: after.Generation, Previous: after.Hash, Author: pub(admin)}
		folded := after.fold(g, roleAdmin, op)
		if !bytes.Equal(encodeState(t, l.state), was) {
			t.Fatal("the state before has changed")
		}
		state := encodeState(t, after)
		again, err := DecodeState(state)
		if err != nil || !bytes.Equal(encodeState(t, again), state) {
			t.Fatalf("its checkpoint: %v", err)
		}
		after.Generation--
		if !folded && !bytes.Equal(encodeState(t, after), was) {
			t.Fatal("a void op has changed the state")
		}
	})
}
