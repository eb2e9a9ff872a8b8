package cmd

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"bluesky/forget"
	"bluesky/object"
	"bluesky/repo"
	"bluesky/snapshot"
)

// warn tells what a policy makes of the snapshots that is easily missed.
func (w *forgetting) warn() {
	if len(w.groups) == 0 && !w.flags.filter.empty() {
		w.env.warn("no snapshot is chosen by --host, --tag and --path, so none is forgotten; bluesky snapshots lists what there is")
	}
	w.warnOneEach()
	dated := map[forget.Dating][]object.ID{}
	for _, g := range w.groups {
		for i := range g.Snapshots {
			dating := g.Snapshots[i].Dating()
			dated[dating] = append(dated[dating], g.Snapshots[i].ID)
		}
	}
	says := map[forget.Dating]string{
		forget.Past:   "dated into the past, before what was stored earlier",
		forget.Future: "dated into the future, after the time when it was stored",
	}
	for _, dating := range []forget.Dating{forget.Past, forget.Future} {
		if ids := dated[dating]; len(ids) > 0 {
			w.env.warn("%s: %s; what is dated so never takes the place of another snapshot", says[dating], fewIDs(ids))
		}
	}
}

// warnOneEach warns where a policy keeps nearly everything, for good: groups
// that hold one snapshot, and, if --group-by has joined them, series that do.
func (w *forgetting) warnOneEach() {
	what, groups := "groups", w.groups
	single, most := forget.OneEach(groups)
	if !most && !w.flags.removeAll {
		what, groups = "series", forget.Lines(w.chosen())
		single, most = forget.OneEach(groups)
	}
	if !most {
		return
	}
	w.env.warn("%d of %d %s have one snapshot only, which every policy keeps: each host and each set of paths makes one, "+
		"and so does each backup if one of them changes every time; if these are backups of the same thing, "+
		"backup --series makes one series of those to come, and forget --group-by host --unsafe-allow-remove-all, which takes the password, forgets those that there are",
		single, len(groups), what)
}

// chosen returns all snapshots that the policy is applied to.
func (w *forgetting) chosen() []forget.Snapshot {
	var all []forget.Snapshot
	for _, g := range w.groups {
		all = append(all, g.Snapshots...)
	}
	return all
}

// print tells what a policy keeps and what it does not.
func (w *forgetting) print() error {
	if w.env.json() {
		groups := make([]forgetGroup, len(w.outcomes))
		for i := range w.outcomes {
			groups[i] = w.groupShape(&w.outcomes[i])
		}
		return w.env.printJSON(groups)
	}
	if w.env.settings.Quiet {
		return nil
	}
	if !w.flags.policy.Empty() {
		w.env.printf("Applying Policy: %s\n", printable(w.flags.policy.String()))
	}
	for i := range w.outcomes {
		if err := w.printGroup(&w.outcomes[i]); err != nil {
			return err
		}
	}
	w.printRemoved()
	return nil
}

// printNamed tells which snapshots were forgotten by id.
func (w *forgetting) printNamed() error {
	if w.env.json() {
		return w.env.printJSON([]forgetGroup{w.groupShape(&w.outcomes[0])})
	}
	if !w.env.settings.Quiet {
		w.printRemoved()
	}
	return nil
}

func (w *forgetting) printRemoved() {
	removed := w.removed()
	if len(removed) == 0 {
		return
	}
	if w.flags.dryRun {
		w.env.printf("Would have removed the following snapshots:\n{%s}\n\n", strings.ReplaceAll(shortIDs(removed), ",", ""))
		return
	}
	w.env.printf("forgot %s; bluesky undo-forget brings back what is not collected yet\n", plural(uint64(len(removed)), "snapshot", "snapshots"))
}

func (w *forgetting) printGroup(o *forget.Outcome) error {
	if len(w.outcomes) > 1 || w.env.settings.Verbose > 0 {
		w.env.printf("snapshots for (%s):\n", groupName(o.Key, w.flags.groupBy))
	}
	if len(o.Keep) > 0 {
		w.env.printf("keep %d snapshots:\n", len(o.Keep))
		if err := w.table(o.Keep, o.Reasons).write(w.env.stdout); err != nil {
			return err
		}
		w.env.printf("\n")
	}
	if len(o.Remove) > 0 {
		w.env.printf("remove %d snapshots:\n", len(o.Remove))
		if err := w.table(o.Remove, nil).write(w.env.stdout); err != nil {
			return err
		}
		w.env.printf("\n")
	}
	return nil
}

// groupName says what the snapshots of a group have in common.
func groupName(k forget.Key, by forget.GroupBy) string {
	var parts []string
	add := func(what string, names ...string) {
		quoted := make([]string, len(names))
		for i, name := range names {
			quoted[i] = quote(name)
		}
		parts = append(parts, fmt.Sprintf("%s [%s]", what, strings.Join(quoted, ", ")))
	}
	if k.Host != "" {
		add("host", k.Host)
	}
	if len(k.Paths) > 0 {
		add("paths", k.Paths...)
	}
	if by.Tags { // none of them is a group as well
		add("tags", k.Tags...)
	}
	if k.Series != (repo.Series{}) {
		add("writer", k.Signer.String()[:8])
		add("series", k.Series.String()[:8])
	}
	return strings.Join(parts, ", ")
}

// table shows snapshots, newest first, as restic does: oldest first.
func (w *forgetting) table(list []forget.Snapshot, reasons [][]string) *table {
	list, reasons = slices.Clone(list), slices.Clone(reasons)
	slices.Reverse(list)
	slices.Reverse(reasons)
	if w.records != nil {
		shown := make([]snapshot.Snapshot, len(list))
		for i := range list {
			shown[i] = *w.records[list[i].ID]
		}
		return snapshotTable(shown, reasons, w.flags.compact)
	}
	t := newTable("ID", "Time")
	if reasons != nil {
		t = newTable("ID", "Time", "Reasons")
	}
	for i, s := range list {
		cells := []string{s.ID.Short(), formatTime(s.Claimed.Time().Local())}
		if reasons != nil {
			cells = append(cells, strings.Join(reasons[i], ", "))
		}
		t.row(cells...)
	}
	t.footer = plural(uint64(len(list)), "snapshot", "snapshots")
	return t
}

// forgetGroup is what a policy does with a group, as restic prints it.
type forgetGroup struct {
	forget.Key
	Signer  string       `json:"signer,omitempty"` // not restic's
	Series  string       `json:"series,omitempty"` // not restic's; without the key
	Keep    []any        `json:"keep"`             // datedShape or keylessShape
	Remove  []any        `json:"remove"`
	Reasons []keepReason `json:"reasons"`
}

type keepReason struct {
	Snapshot any      `json:"snapshot"`
	Matches  []string `json:"matches"`
}

// dating is what forget says of the time of a snapshot.
type dating struct {
	EffectiveTime *time.Time `json:"effective_time,omitempty"` // where it is another
	Dated         string     `json:"dated,omitempty"`          // "past" or "future"
}

// datedShape is a snapshot, as restic has it, and more.
type datedShape struct {
	snapshotShape
	dating
}

// keylessShape is what there is of that without the key.
type keylessShape struct {
	Time    time.Time `json:"time"`
	Pinned  bool      `json:"pinned,omitempty"`
	ID      string    `json:"id"`
	ShortID string    `json:"short_id"`
	dating
}

func (w *forgetting) groupShape(o *forget.Outcome) forgetGroup {
	g := forgetGroup{Key: o.Key}
	if o.Signer != (repo.PublicKey{}) {
		g.Signer = o.Signer.String()
	}
	if o.Series != (repo.Series{}) {
		g.Series = o.Series.String()
	}
	for i := range o.Keep {
		s := w.shape(&o.Keep[i])
		g.Keep = append(g.Keep, s)
		g.Reasons = append(g.Reasons, keepReason{s, o.Reasons[i]})
	}
	for i := range o.Remove {
		g.Remove = append(g.Remove, w.shape(&o.Remove[i]))
	}
	return g
}

func (w *forgetting) shape(s *forget.Snapshot) any {
	d := dating{Dated: s.Dating().String()}
	if s.Effective != s.Claimed {
		at := jsonTime(s.Effective)
		d.EffectiveTime = &at
	}
	if record := w.records[s.ID]; record != nil {
		return datedShape{snapshotShapeOf(record), d}
	}
	return keylessShape{jsonTime(s.Claimed), s.Pinned, s.ID.String(), s.ID.Short(), d}
}
