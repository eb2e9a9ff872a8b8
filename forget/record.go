package forget

import (
	"errors"

	"bluesky/repo"
)

// recordFields returns where a record has the count and the duration of each span.
func recordFields(r *repo.ForgetPolicy) (counts [len(Spans)]*uint32, within [len(Spans)]**repo.Duration) {
	counts = [...]*uint32{&r.Last, &r.Hourly, &r.Daily, &r.Weekly, &r.Monthly, &r.Yearly}
	within = [...]**repo.Duration{&r.Within, &r.WithinHourly, &r.WithinDaily, &r.WithinWeekly, &r.WithinMonthly, &r.WithinYearly}
	return counts, within
}

// Record returns the stored form of p, as a forget names it. A policy that keeps
// by tags has none.
func (p *Policy) Record() (*repo.ForgetPolicy, error) {
	if len(p.Tags) > 0 {
		return nil, errors.New("a policy that keeps tags needs the key")
	}
	r := new(repo.ForgetPolicy)
	counts, within := recordFields(r)
	for _, span := range Spans {
		*counts[span] = uint32(p.Keep[span]) // Unlimited is 2³²−1
		if d := p.Within[span]; d != nil {
			*within[span] = &repo.Duration{Years: d.Years, Months: d.Months, Days: d.Days, Hours: d.Hours, Seconds: d.Seconds}
		}
	}
	return r, nil
}

// PolicyOf is the inverse of [Policy.Record].
func PolicyOf(r *repo.ForgetPolicy) Policy {
	var p Policy
	counts, within := recordFields(r)
	for _, span := range Spans {
		p.Keep[span] = Count(*counts[span])
		if *counts[span] == repo.Unlimited {
			p.Keep[span] = Unlimited
		}
		if d := *within[span]; d != nil {
			p.Within[span] = &Duration{Years: d.Years, Months: d.Months, Days: d.Days, Hours: d.Hours, Seconds: d.Seconds}
		}
	}
	return p
}
