package fault

import (
	"strings"
	"sync"
)

// A Plan says what becomes of an operation, which is none of those kinds that
// the effect is for: then it is done. It may be called concurrently, and may use
// the bucket.
type Plan func(Op) Effect

// A Rule is a line of a script: an effect for some of the operations of some
// kinds on some keys.
type Rule struct {
	Kinds  Kind   // 0 is all for which there is the effect
	Prefix string // of the key
	After  int    // so many of those that match are let be first
	Times  int    // and so many struck then; 0 is all
	Effect Effect
}

func (r Rule) matches(op Op) bool {
	kinds := r.Kinds
	if kinds == 0 {
		kinds = Any
	}
	return op.Kind&kinds&r.Effect.Kinds() != 0 && strings.HasPrefix(op.Key, r.Prefix)
}

// Rules is a Plan after a script. Of the rules that match an operation the first
// that is due strikes; each counts all that it matches.
func Rules(rules ...Rule) Plan {
	var mu sync.Mutex
	seen := make([]int, len(rules))
	return func(op Op) Effect {
		mu.Lock()
		defer mu.Unlock()
		effect := None
		for i, r := range rules {
			if !r.matches(op) {
				continue
			}
			seen[i]++
			due := seen[i] > r.After && (r.Times == 0 || seen[i] <= r.After+r.Times)
			if due && effect == None {
				effect = r.Effect
			}
		}
		return effect
	}
}

// First asks one plan after the other until one has an effect.
func First(plans ...Plan) Plan {
	return func(op Op) Effect {
		for _, plan := range plans {
			if e := plan(op); e != None {
				return e
			}
		}
		return None
	}
}
