package cmd

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"bluesky/forget"
	"bluesky/object"
	"bluesky/repo"
	"bluesky/snapshot"
)

func newForgetCommand(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "forget [flags] [SNAPSHOT ...]",
		Short: "Forget snapshots, by id or by what a policy does not keep",
		Long: `Forget snapshots: those that are named by id, or those that a policy does not
keep. All snapshots are divided into groups by --group-by, and the policy that
the --keep-... flags make is applied to each group. While there are fewer
snapshots than it would keep, the oldest of the group is kept as well.

A forgotten snapshot is not listed any more and cannot be restored; what it
needs stays in the repository until it is collected, and until then
"bluesky undo-forget" brings it back. Pinned snapshots are not forgotten, and the
last one of a series, that is of a host and its paths or of a backup --series,
only by its id or with --unsafe-allow-remove-all.

Days and weeks are those of UTC. The time of a snapshot is what its writer says,
if the repository bears that out: a snapshot that is dated into the past or the
future is reported, and never takes the place of one that is not.

Where no password is configured, and the machine has the key for cleaning, a
policy is applied without the password to each series of snapshots, and
everything within 7 days is kept, unless --keep-within says otherwise.

With --prune the space of what was forgotten is taken back at once, signed by
whoever forgets, unless a quarantine of the repository keeps it (see "bluesky
policy").`,
	}
	f := addForgetFlags(cmd.Flags(), e.getenv)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		f.grouped = cmd.Flags().Changed("group-by")
		if err := f.check(len(args) > 0); err != nil {
			return usageError(cmd, err)
		}
		if given := givenPruneFlag(cmd.Flags()); !f.prune && given != "" {
			e.warn("--%s does nothing without --prune", given)
		}
		return e.forget(cmd.Context(), f, args)
	}
	return cmd
}

// forget runs the command.
func (e *env) forget(ctx context.Context, f *forgetFlags, args []string) error {
	w := &forgetting{env: e, flags: f}
	var err error
	if len(args) > 0 || f.needsKey() {
		err = hintNoPassword(w.open(ctx), "a policy alone, without snapshots, --host (BLUESKY_HOST), --tag, --path, --group-by and --keep-tag, works with the cleaner key")
	} else {
		err = w.openKeyless(ctx)
	}
	if err != nil {
		return err
	}
	defer w.close()
	if len(args) > 0 {
		err = w.forgetNamed(ctx, args)
	} else {
		err = w.forgetByPolicy(ctx)
	}
	if err != nil || !f.prune {
		return err
	}
	if f.dryRun {
		e.message("nothing was forgotten, so there is no plan of what --prune would delete then")
		return nil
	}
	return w.prune(ctx, w.author, f.pruning.options())
}

// A forgetting is one run of forget.
type forgetting struct {
	*opened
	env    *env
	flags  *forgetFlags
	author crypto.Signer
	// policy is what a forget without the key says that it goes by; nil with
	// the key.
	policy *repo.ForgetPolicy

	// Of the state that was looked at last.
	groups   []forget.Group
	outcomes []forget.Outcome
	records  map[object.ID]*snapshot.Snapshot // none without the key
}

// open opens the repository with its password.
func (w *forgetting) open(ctx context.Context) (err error) {
	if w.opened, err = w.env.openKeyed(ctx); err == nil {
		w.author = w.keys.Admin()
	}
	return err
}

// hintNoPassword adds, to an error of there being no password, what works without.
func hintNoPassword(err error, without string) error {
	if errors.Is(err, errPasswordNone) {
		return withHint(err, "%s; %s", hintPassword, without)
	}
	return err
}

// openKeyless opens the repository with the key for cleaning, if no password is
// configured and there is one.
func (w *forgetting) openKeyless(ctx context.Context) error {
	a, err := w.env.access()
	if err != nil {
		return err
	}
	if a.password.kind != passwordAsk {
		return w.open(ctx)
	}
	o, key, err := w.env.openCleaner(ctx)
	if err != nil {
		return err
	}
	w.opened = o
	if key == nil {
		if err = o.unlock(ctx); err == nil {
			w.author = o.keys.Admin()
			err = o.refresh(ctx)
		}
		return o.finish(hintNoPassword(err, "or, for a policy without the password, "+o.hintCleanerKey()))
	}
	w.author = key.Signer()
	w.flags.policy = w.flags.policy.WithFloor(forget.DefaultFloor)
	if w.policy, err = w.flags.policy.Record(); err != nil {
		return o.finish(err)
	}
	w.env.message("no password is configured: the policy is applied to each series of each writer")
	return nil
}

// forgetByPolicy forgets what the policy does not keep. What it decides holds for
// one state only: if another author was faster, it decides again.
func (w *forgetting) forgetByPolicy(ctx context.Context) error {
	for {
		if err := w.decide(ctx); err != nil {
			return err
		}
		err := w.commit(ctx)
		if errors.Is(err, repo.ErrConflict) {
			if err := w.refresh(ctx); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return err
		}
		w.warn()
		return w.print()
	}
}

// decide applies the policy to the state.
func (w *forgetting) decide(ctx context.Context) error {
	times, err := w.repo.StoreTimes(ctx, w.state)
	if err != nil {
		return err
	}
	live, _, err := forget.Load(w.state.Timed(times))
	if err != nil {
		return err
	}
	if w.policy != nil {
		w.groups = forget.Lines(live)
	} else if w.groups, err = w.group(ctx, live); err != nil {
		return err
	}
	if w.flags.policy.Empty() { // only --unsafe-allow-remove-all
		w.outcomes = nil
		for _, g := range w.groups {
			w.outcomes = append(w.outcomes, forget.Outcome{Key: g.Key, Decision: forget.Apply(g.Snapshots, &w.flags.policy)})
		}
		return nil
	}
	if w.flags.removeAll {
		live = nil // as in restic: the last of a series is like any other
	}
	w.outcomes, err = forget.Decide(live, w.groups, &w.flags.policy)
	return err
}

// group divides the snapshots that the filter chooses.
func (w *forgetting) group(ctx context.Context, live []forget.Snapshot) ([]forget.Group, error) {
	list, err := w.snapshots(ctx, w.flags.filter)
	if err != nil {
		return nil, err
	}
	w.records = make(map[object.ID]*snapshot.Snapshot, len(list))
	for i := range list {
		w.records[list[i].ID] = &list[i]
	}
	var chosen []forget.Snapshot
	for _, s := range live {
		if record, ok := w.records[s.ID]; ok {
			r := &record.Record
			s.Host, s.Paths, s.Tags = r.Host, r.Paths, r.Tags
			chosen = append(chosen, s)
		}
	}
	return forget.Groups(chosen, w.flags.groupBy), nil
}

// removed returns the ids of what is not kept, ascending.
func (w *forgetting) removed() []object.ID {
	var ids []object.ID
	for _, o := range w.outcomes {
		for i := range o.Remove {
			ids = append(ids, o.Remove[i].ID)
		}
	}
	slices.SortFunc(ids, object.ID.Compare)
	return ids
}

// commit forgets what is not kept, behind the state that was looked at.
func (w *forgetting) commit(ctx context.Context) error {
	ids := w.removed()
	if w.flags.dryRun || len(ids) == 0 {
		return nil
	}
	op, err := repo.NewOp(repo.OpForget, &repo.Forget{Snapshots: ids, Policy: w.policy})
	if err != nil {
		return err
	}
	_, err = w.repo.Append(ctx, w.state, w.author, []repo.Op{op})
	return err
}

// forgetNamed forgets the snapshots that args name.
func (w *forgetting) forgetNamed(ctx context.Context, args []string) error {
	list, err := w.named(ctx, args, w.flags.filter)
	if err != nil {
		return err
	}
	w.records = map[object.ID]*snapshot.Snapshot{}
	var d forget.Decision
	for i := range list {
		s := &list[i]
		if s.Pinned {
			return withHint(fmt.Errorf("snapshot %s is pinned", s.ID.Short()), "bluesky unpin %s allows it to be forgotten", s.ID.Short())
		}
		if w.records[s.ID] == nil {
			d.Remove = append(d.Remove, forget.Snapshot{ID: s.ID, Claimed: s.Time, Effective: s.Time})
		}
		w.records[s.ID] = s
	}
	w.outcomes = []forget.Outcome{{Decision: d}}
	if !w.flags.dryRun {
		if _, err := w.repo.Forget(ctx, w.author, w.removed(), nil); err != nil {
			return err
		}
	}
	return w.printNamed()
}
