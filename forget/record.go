package forget

import "errors"

// A Record is the stored form of a policy that needs no key, as a forget names
// it. Counts are 0 for none and 2³²−1 for all; durations are absent when they
// were not given.
type Record struct {
	Last          uint32          `cbor:"1,keyasint,omitempty"`
	Hourly        uint32          `cbor:"2,keyasint,omitempty"`
	Daily         uint32          `cbor:"3,keyasint,omitempty"`
	Weekly        uint32          `cbor:"4,keyasint,omitempty"`
	Monthly       uint32          `cbor:"5,keyasint,omitempty"`
	Yearly        uint32          `cbor:"6,keyasint,omitempty"`
	Within        *RecordDuration `cbor:"7,keyasint,omitempty"`
	WithinHourly  *RecordDuration `cbor:"8,keyasint,omitempty"`
	WithinDaily   *RecordDuration `cbor:"9,keyasint,omitempty"`
	WithinWeekly  *RecordDuration `cbor:"10,keyasint,omitempty"`
	WithinMonthly *RecordDuration `cbor:"11,keyasint,omitempty"`
	WithinYearly  *RecordDuration `cbor:"12,keyasint,omitempty"`
}

// A RecordDuration is the stored form of a [Duration].
type RecordDuration struct {
	_                                   struct{} `cbor:",toarray"`
	Years, Months, Days, Hours, Seconds uint32
}

const recordUnlimited = 1<<32 - 1

// recordFields returns where a record has the count and the duration of each span.
func recordFields(r *Record) (counts [len(Spans)]*uint32, within [len(Spans)]**RecordDuration) {
	counts = [...]*uint32{&r.Last, &r.Hourly, &r.Daily, &r.Weekly, &r.Monthly, &r.Yearly}
	within = [...]**RecordDuration{&r.Within, &r.WithinHourly, &r.WithinDaily, &r.WithinWeekly, &r.WithinMonthly, &r.WithinYearly}
	return counts, within
}

// Record returns the stored form of p. A policy that keeps by tags has none.
func (p *Policy) Record() (*Record, error) {
	if len(p.Tags) > 0 {
		return nil, errors.New("a policy that keeps tags needs the key")
	}
	r := new(Record)
	counts, within := recordFields(r)
	for _, span := range Spans {
		*counts[span] = uint32(p.Keep[span]) // Unlimited is 2³²−1
		if d := p.Within[span]; d != nil {
			*within[span] = &RecordDuration{Years: d.Years, Months: d.Months, Days: d.Days, Hours: d.Hours, Seconds: d.Seconds}
		}
	}
	return r, nil
}

// PolicyOf is the inverse of [Policy.Record].
func PolicyOf(r *Record) Policy {
	var p Policy
	counts, within := recordFields(r)
	for _, span := range Spans {
		p.Keep[span] = Count(*counts[span])
		if *counts[span] == recordUnlimited {
			p.Keep[span] = Unlimited
		}
		if d := *within[span]; d != nil {
			p.Within[span] = &Duration{Years: d.Years, Months: d.Months, Days: d.Days, Hours: d.Hours, Seconds: d.Seconds}
		}
	}
	return p
}
