package forget

import (
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	"bluesky/object"
	"bluesky/repo"
)

func TestEffectiveTime(t *testing.T) {
	at := func(sec int64) object.Time { return object.Time{Sec: sec, Nsec: 5} }
	point := func(sec int64) *object.Time { o := at(sec); return &o }
	tests := []struct {
		name            string
		claimed, stored object.Time
		previous        *object.Time
		want            object.Time
	}{
		{"honest, the first", at(100), at(200), nil, at(100)},
		{"honest, behind another", at(100), at(200), point(50), at(100)},
		{"from the future", at(900), at(200), point(50), at(200)},
		{"from the past", at(10), at(200), point(50), at(50)},
		{"from the past, the first", at(10), at(200), nil, at(10)},
		{"the store's clock went back", at(100), at(40), point(50), at(50)},
		{"less than a second apart", at(100), object.Time{Sec: 100, Nsec: 4}, nil, object.Time{Sec: 100, Nsec: 4}},
	}
	for _, tt := range tests {
		s := repo.Snapshot{AddSnapshot: repo.AddSnapshot{ID: object.ID{2}, Time: tt.claimed}, Generation: 2}
		before := repo.Snapshot{AddSnapshot: repo.AddSnapshot{ID: object.ID{1}}, Generation: 1, Effective: tt.previous}
		state := &repo.State{Snapshots: []repo.Snapshot{s}}
		if tt.previous != nil {
			state.Forgotten = []repo.Forgotten{{Snapshot: before, At: 3}} // forgotten or not
		}
		if _, _, err := Load(state); err == nil {
			t.Errorf("%s: loaded without a time", tt.name)
		}
		live, _, err := Load(state.Timed([]repo.StoreTime{{ID: s.ID, Time: tt.stored}}))
		if err != nil || live[0].Effective != tt.want {
			t.Errorf("%s: got %v, %v, want %v", tt.name, live, err, tt.want)
		}
		if got := effectiveTime(tt.claimed, tt.stored, tt.previous); got != tt.want {
			t.Errorf("%s: the model says %v, want %v", tt.name, got, tt.want)
		}
		if state.Snapshots[0].Effective != nil {
			t.Errorf("%s: the state was changed", tt.name)
		}
	}
}

// TestLoad: of a whole log, of which the state knows the times of the first part.
func TestLoad(t *testing.T) {
	random(t, 200, func(t *testing.T, r *rand.Rand) {
		w := newWorld(r)
		for range 1 + r.IntN(40) {
			w.wait(9 * time.Hour)
			w.lie(testLine(1, byte(r.IntN(3))))
		}
		state, known := &repo.State{}, r.IntN(len(w.log))
		var times []repo.StoreTime
		for i, s := range w.log {
			entry := repo.Snapshot{
				AddSnapshot: repo.AddSnapshot{ID: s.ID, Time: s.Claimed, Series: s.Series},
				Generation:  s.Generation, Signer: s.Signer,
			}
			if i < known {
				entry.Effective = &w.log[i].Effective
			} else {
				times = append(times, repo.StoreTime{ID: s.ID, Time: object.TimeOf(w.stored[s.ID])})
			}
			if r.IntN(3) == 0 {
				state.Forgotten = append(state.Forgotten, repo.Forgotten{Snapshot: entry, At: 1000})
			} else {
				state.Snapshots = append(state.Snapshots, entry)
			}
		}
		slices.SortFunc(times, func(a, b repo.StoreTime) int { return a.ID.Compare(b.ID) })
		live, forgotten, err := Load(state.Timed(times))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range forgotten {
			live = append(live, f.Snapshot)
		}
		InLogOrder(live)
		if !reflect.DeepEqual(live, w.log) {
			t.Errorf("loaded %v\nof     %v", live, w.log)
		}
	})
}

func TestDating(t *testing.T) {
	const day = 86400
	tests := []struct {
		claimed, effective int64
		want               Dating
	}{
		{0, 0, Undated},
		{day, 0, Undated},
		{day + 1, 0, Future},
		{-day, 0, Undated},
		{-day - 1, 0, Past},
		{math.MaxInt64, math.MinInt64, Future},
		{math.MinInt64, math.MaxInt64, Past},
		{math.MinInt64, math.MinInt64 + day, Undated},
		{math.MaxInt64, math.MaxInt64 - day, Undated},
	}
	for _, tt := range tests {
		s := Snapshot{Claimed: object.Time{Sec: tt.claimed}, Effective: object.Time{Sec: tt.effective}}
		if got := s.Dating(); got != tt.want {
			t.Errorf("claimed %d, effective %d: got %q, want %q", tt.claimed, tt.effective, got, tt.want)
		}
	}
}

// TestNoTimeIsTooStrange: whoever writes to the bucket chooses any 64 bits.
func TestNoTimeIsTooStrange(t *testing.T) {
	var list []Snapshot
	for i, sec := range []int64{math.MinInt64, -1 << 60, -1, 0, 1 << 40, 1 << 60, math.MaxInt64} {
		at := object.Time{Sec: sec}
		list = append(list, Snapshot{ID: object.ID{byte(i)}, Generation: uint64(i), Claimed: at, Effective: at})
	}
	policy := Policy{}
	for _, span := range Spans {
		policy.Keep[span] = Unlimited
		policy.Within[span] = &Duration{math.MaxUint32, math.MaxUint32, math.MaxUint32, math.MaxUint32, math.MaxUint32}
	}
	if got := Apply(list, &policy); len(got.Keep) != len(list) || got.Keep[0].ID != list[len(list)-1].ID {
		t.Errorf("of %d snapshots %d are kept, the newest %v", len(list), len(got.Keep), got.Keep[0].ID.Short())
	}
}

// TestLiesPushNothingOut: in one line, the writer's own, snapshots with any
// claims come between honest ones. Of these the policy keeps exactly what it
// keeps where the dated ones are not.
func TestLiesPushNothingOut(t *testing.T) { random(t, 1000, liesPushNothingOut) }

func TestSoakLies(t *testing.T) { soak(t, liesPushNothingOut) }

func liesPushNothingOut(t *testing.T, r *rand.Rand) {
	w, line := newWorld(r), testLine(1, 1)
	step := []time.Duration{time.Hour, 30 * time.Hour, 400 * time.Hour}[r.IntN(3)]
	for range 1 + r.IntN(40) {
		w.wait(step)
		began := w.now
		for range r.IntN(4) { // also while an honest backup is under way
			w.lie(line)
		}
		w.wait(3 * time.Hour)
		w.add(line, began)
	}
	checkTimes(t, w)
	policy := randomPolicy(r)
	undated := slices.DeleteFunc(slices.Clone(w.log), func(s Snapshot) bool { return s.Dating() != Undated })
	with, without := idSet(Apply(w.log, &policy).Keep), idSet(Apply(undated, &policy).Keep)
	for _, s := range undated {
		if with[s.ID] != without[s.ID] {
			t.Errorf("%v: with what is dated %s is kept: %v; without: %v", &policy, s.ID.Short(), with[s.ID], without[s.ID])
		}
	}
}

// checkTimes checks what holds for the times of a line, whatever its writer
// claims.
func checkTimes(t *testing.T, w *world) {
	t.Helper()
	for i, s := range w.log {
		if stored := object.TimeOf(w.stored[s.ID]); stored.Before(s.Effective) {
			t.Errorf("%s was stored at %v, and its effective time is %v", s.ID.Short(), stored, s.Effective)
		}
		if i > 0 && s.Effective.Before(w.log[i-1].Effective) {
			t.Errorf("the effective time of %s is before that of the one before it", s.ID.Short())
		}
		if !w.lies[s.ID] && (s.Effective.Before(s.Claimed) || s.Dating() != Undated) {
			t.Errorf("%s is honest, claims %v and has %v", s.ID.Short(), s.Claimed, s.Effective)
		}
	}
}

// TestAFloodWaitsForTheFloor: snapshots in any number, of the same line, push
// out nothing that is newer than the floor, and of what is older no more than
// the days that went by since they began, if the policy is one of days.
func TestAFloodWaitsForTheFloor(t *testing.T) { random(t, 600, floodWaits) }

func floodWaits(t *testing.T, r *rand.Rand) {
	w, line := newWorld(r), testLine(1, 1)
	for range 20 + r.IntN(40) {
		w.wait(30 * time.Hour)
		w.add(line, w.now)
	}
	policy := Policy{}
	policy.Keep[Last] = Count(r.IntN(5))
	policy.Keep[Daily] = Count(1 + r.IntN(20))
	policy = policy.WithFloor(DefaultFloor)
	before := Apply(w.log, &policy).Keep
	began := w.now
	for range 1 + r.IntN(60) {
		w.wait(8 * time.Hour)
		if w.IntN(2) == 0 {
			w.add(line, w.now.Add(-time.Duration(w.Int64N(int64(20*time.Hour))))) // in the place of yesterday's
		} else {
			w.lie(line)
		}
	}
	kept := idSet(Apply(w.log, &policy).Keep)
	newest := w.effective[line].Time()
	for _, s := range before {
		if s.Effective.Time().After(newest.AddDate(0, 0, -7)) && !kept[s.ID] {
			t.Errorf("%s, of %v, is pushed out %v later", s.ID.Short(), s.Effective.Time(), w.now.Sub(s.Effective.Time()))
		}
	}
	days := int(newest.Sub(began)/(24*time.Hour)) + 2
	dailies := Apply(w.log[:slices.IndexFunc(w.log, func(s Snapshot) bool { return s.ID == before[0].ID })+1],
		&Policy{Keep: [len(Spans)]Count{Daily: policy.Keep[Daily]}}).Keep
	for i := 1; i < len(dailies)-days; i++ { // not the newest, whose day others may end
		if !kept[dailies[i].ID] {
			t.Errorf("%s, day %d of %d, is pushed out within %d days", dailies[i].ID.Short(), i, len(dailies), days)
		}
	}
}

// TestOthersDoNotMatter: what another writer adds, and what is added to another
// series, changes nothing.
func TestOthersDoNotMatter(t *testing.T) {
	random(t, 300, func(t *testing.T, r *rand.Rand) {
		w := newWorld(r)
		mine := testLine(1, 1)
		others := []Line{testLine(1, 2), testLine(2, 1), testLine(2, 2)}
		for range 1 + r.IntN(30) {
			w.wait(20 * time.Hour)
			for range r.IntN(5) {
				w.lie(others[r.IntN(3)])
			}
			w.add(mine, w.now)
		}
		policy := randomPolicy(r)
		want := Apply(w.honest(), &policy)
		for _, g := range Lines(w.log) {
			if (Line{g.Signer, g.Series}) != mine {
				continue
			}
			if got := Apply(g.Snapshots, &policy); !slices.EqualFunc(got.Keep, want.Keep, sameID) {
				t.Errorf("%v: %d kept, %d without the others", &policy, len(got.Keep), len(want.Keep))
			}
			return
		}
		t.Error("the line is not there")
	})
}

func sameID(a, b Snapshot) bool { return a.ID == b.ID }

// TestFewerSnapshotsSaveOnlyMore: what is kept stays kept if others were not
// there, but for [TestMonthsThatLackADay]. [Recheck] builds on it.
func TestFewerSnapshotsSaveOnlyMore(t *testing.T) { random(t, 1000, fewerSaveMore) }

func TestSoakFewer(t *testing.T) { soak(t, fewerSaveMore) }

func fewerSaveMore(t *testing.T, r *rand.Rand) {
	w, line := newWorld(r), testLine(1, 1)
	for range 1 + r.IntN(50) {
		w.wait(time.Duration(1+r.IntN(100)) * time.Hour)
		if r.IntN(3) == 0 {
			w.lie(line)
		} else {
			w.add(line, w.now)
		}
	}
	policy := withoutMonths(randomPolicy(r))
	all := idSet(Apply(w.log, &policy).Keep)
	some := slices.DeleteFunc(slices.Clone(w.log), func(Snapshot) bool { return r.IntN(3) == 0 })
	for _, s := range Apply(some, &policy).Remove {
		if all[s.ID] {
			t.Errorf("%v: %s is kept among %d snapshots and not among %d of them", &policy, s.ID.Short(), len(w.log), len(some))
		}
	}
}

// TestMonthsThatLackADay: a month before the 31st of March is the 3rd, and a
// month before the 1st of April is the 1st, in restic as well. So without the
// newest snapshot a limit may be later.
func TestMonthsThatLackADay(t *testing.T) {
	var list []Snapshot
	for i, day := range []string{"2026-03-02", "2026-03-31", "2026-04-01"} {
		at, err := time.Parse(time.DateOnly, day)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, Snapshot{ID: object.ID{byte(i)}, Claimed: object.TimeOf(at), Effective: object.TimeOf(at)})
	}
	policy := Policy{}
	policy.Within[Last] = &Duration{Months: 1}
	if all, fewer := len(Apply(list, &policy).Keep), len(Apply(list[:2], &policy).Keep); all != 3 || fewer != 1 {
		t.Errorf("%d of 3 are kept, and %d of 2", all, fewer)
	}
}

// TestAStoreWithoutTimes: where the store's clock was far behind, or its times are
// lost, at least what the claims alone would keep is kept, and what came while its
// clock was right is judged by itself.
func TestAStoreWithoutTimes(t *testing.T) { random(t, 1000, storeWithoutTimes) }

func storeWithoutTimes(t *testing.T, r *rand.Rand) {
	line, now := testLine(1, 1), time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)
	wrong := [2]int{r.IntN(20), r.IntN(40)} // from one snapshot to another
	var log, behind []Snapshot
	var previous *object.Time
	for i := range 1 + r.IntN(40) {
		now = now.Add(time.Duration(1 + r.Int64N(int64(60*time.Hour))))
		stored := now
		if i >= wrong[0] && i < wrong[1] {
			stored = time.Unix(int64(i), 0)
		}
		s := Snapshot{ID: object.ID{byte(i)}, Line: line, Generation: uint64(i), Claimed: object.TimeOf(now)}
		s.Effective = effectiveTime(s.Claimed, object.TimeOf(stored), previous)
		at := s.Effective
		previous = &at
		log = append(log, s)
		if s.Dating() == Future {
			s.Effective = s.Claimed
			behind = append(behind, s)
		}
	}
	policy := randomPolicy(r)
	kept := idSet(Apply(log, &policy).Keep)
	for _, s := range Apply(behind, &policy).Keep {
		if !kept[s.ID] {
			t.Errorf("%v: %s, of %v, is lost with the time of the store", &policy, s.ID.Short(), s.Claimed.Time())
		}
	}
	undated := slices.DeleteFunc(slices.Clone(log), func(s Snapshot) bool { return s.Dating() != Undated })
	for _, s := range Apply(undated, &policy).Keep {
		if !kept[s.ID] {
			t.Errorf("%v: %s, of %v, is pushed out", &policy, s.ID.Short(), s.Claimed.Time())
		}
	}
}
