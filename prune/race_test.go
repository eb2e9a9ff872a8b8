//go:build race

package prune

import "testing"

const raceEnabled = true

// alone is for long tests in which nothing happens at once: make test runs them
// without the race detector.
func alone(t *testing.T) {
	t.Skip("nothing happens at once here: it is to be run without the race detector")
}
