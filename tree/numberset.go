package tree

// A numberSet is a set of inode numbers. They are dense where they come from
// our own writers, so it takes about a bit for each number up to the highest;
// for scattered ones it takes about a hundred bytes each.
type numberSet struct {
	words map[uint64]*[8]uint64 // 512 numbers each
}

// add adds n and reports whether it was not there yet.
func (s *numberSet) add(n uint64) bool {
	if s.words == nil {
		s.words = make(map[uint64]*[8]uint64)
	}
	w := s.words[n>>9]
	if w == nil {
		w = new([8]uint64)
		s.words[n>>9] = w
	}
	word, bit := &w[n>>6&7], uint64(1)<<(n&63)
	if *word&bit != 0 {
		return false
	}
	*word |= bit
	return true
}
