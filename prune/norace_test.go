//go:build !race

package prune

import "testing"

const raceEnabled = false

func alone(*testing.T) {}
