package cmd

import (
	"errors"
	"strings"

	"github.com/spf13/pflag"

	"bluesky/forget"
)

// forgetFlags are the flags of forget.
type forgetFlags struct {
	policy    forget.Policy
	filter    *snapshotFilter
	groupBy   forget.GroupBy
	removeAll bool
	compact   bool
	dryRun    bool
	prune     bool // afterwards
	pruning   *pruneFlags

	grouped bool // --group-by was given
}

// addForgetFlags defines the flags of forget, which are restic's.
func addForgetFlags(flags *pflag.FlagSet, getenv func(string) string) *forgetFlags {
	f := &forgetFlags{groupBy: forget.GroupBy{Host: true, Paths: true}}
	flags.SortFlags = false
	letters := [...]string{"l", "H", "d", "w", "m", "y"}
	for _, span := range forget.Spans {
		what := span.String() + " snapshots"
		if span == forget.Last {
			what = "snapshots"
		}
		flags.VarP((*countValue)(&f.policy.Keep[span]), "keep-"+span.String(), letters[span],
			"keep the last `n` "+what+"; 'unlimited' keeps all of them")
	}
	for _, span := range forget.Spans {
		name, what := "keep-within-"+span.String(), span.String()+" snapshots"
		if span == forget.Last {
			name, what = "keep-within", "snapshots"
		}
		flags.Var(&durationValue{&f.policy.Within[span]}, name,
			"keep "+what+" that are newer than this `duration` before the newest one, such as 1y5m7d2h")
	}
	flags.Var((*tagListsValue)(&f.policy.Tags), "keep-tag", "keep snapshots that have all tags of this `tag[,tag,...]`; may be given more than once")
	flags.BoolVar(&f.removeAll, "unsafe-allow-remove-all", false, "without a policy, forget all snapshots that --host, --tag and --path choose; with one, do not spare the last of each series")
	f.filter = addSnapshotFilterAs(flags, getenv, "") // -H is --keep-hourly
	flags.BoolVarP(&f.compact, "compact", "c", false, "print one line for each snapshot")
	flags.VarP((*groupByValue)(&f.groupBy), "group-by", "g", "apply the policy to each `group` of snapshots with the same host, paths or tags, with commas between them; '' makes one group")
	flags.BoolVarP(&f.dryRun, "dry-run", "n", false, "forget nothing, and say what would be forgotten")
	flags.BoolVar(&f.prune, "prune", false, "run bluesky prune afterwards, with the flags below; --dry-run leaves it out")
	f.pruning = addPruneFlags(flags)
	return f
}

// check judges the flags together with the snapshots that were named.
func (f *forgetFlags) check(named bool) error {
	switch {
	case named && (!f.policy.Empty() || f.removeAll):
		return errors.New("snapshots are forgotten by id or by a policy, not both at once")
	case named || !f.policy.Empty():
		return nil
	case !f.removeAll:
		return withHint(errors.New("no policy was specified, no snapshots will be removed"), "give --keep-daily 7, say, or the ids of snapshots")
	case f.filter.empty():
		return errors.New("--unsafe-allow-remove-all is not allowed unless --host, --tag or --path is specified")
	}
	return nil
}

// needsKey reports whether f asks for something that only the key shows, or
// that only who has it may do.
func (f *forgetFlags) needsKey() bool {
	return f.grouped || f.removeAll || !f.filter.empty() || len(f.policy.Tags) > 0
}

// countValue is the value of --keep-daily and its like.
type countValue forget.Count

func (v *countValue) Set(text string) error {
	count, err := forget.ParseCount(text)
	if err == nil {
		*v = countValue(count)
	}
	return err
}

func (v *countValue) String() string {
	if v == nil || *v == 0 {
		return "" // no default to show
	}
	return forget.Count(*v).String()
}

func (v *countValue) Type() string { return "n" }

// durationValue is the value of --keep-within and its like.
type durationValue struct{ to **forget.Duration }

func (v *durationValue) Set(text string) error {
	d, err := forget.ParseDuration(text)
	if err == nil {
		*v.to = &d
	}
	return err
}

func (v *durationValue) String() string {
	if v == nil || v.to == nil || *v.to == nil {
		return ""
	}
	return (*v.to).String()
}

func (v *durationValue) Type() string { return "duration" }

// tagListsValue is the value of --keep-tag: each use is a list.
type tagListsValue []forget.TagList

func (v *tagListsValue) Set(text string) error {
	*v = append(*v, forget.ParseTagList(text))
	return nil
}

func (v *tagListsValue) String() string {
	if v == nil {
		return ""
	}
	var lists []string
	for _, list := range *v {
		lists = append(lists, list.String())
	}
	return strings.Join(lists, " ")
}

func (v *tagListsValue) Type() string { return "tags" }

// groupByValue is the value of --group-by.
type groupByValue forget.GroupBy

func (v *groupByValue) Set(text string) error {
	by, err := forget.ParseGroupBy(text)
	if err == nil {
		*v = groupByValue(by)
	}
	return err
}

func (v *groupByValue) String() string { return forget.GroupBy(*v).String() }

func (v *groupByValue) Type() string { return "group" }
