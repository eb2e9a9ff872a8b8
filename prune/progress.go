package prune

// Progress is told what happens. Its methods are called concurrently and must
// return soon.
type Progress interface {
	// Phase is called when a part begins, with the number of steps that it has, 0
	// if that is not known.
	Phase(name string, steps uint64)
	// Step is called when steps of the phase are done.
	Step(n uint64)
}

// NoProgress is a Progress that tells nobody.
type NoProgress struct{}

func (NoProgress) Phase(string, uint64) {}
func (NoProgress) Step(uint64)          {}
