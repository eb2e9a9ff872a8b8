package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestRunCounted: what a program reads and writes is counted, and what programs
// do that it starts.
func TestRunCounted(t *testing.T) {
	const size = 3 << 20
	from := filepath.Join(t.TempDir(), "from")
	if err := os.WriteFile(from, make([]byte, size), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, script := range map[string]string{
		"itself": "exec cat $0 >$0.1",
		"child":  "cat $0 >$0.2; true",
	} {
		t.Run(name, func(t *testing.T) {
			m, err := runCounted(exec.Command("sh", "-c", script, from))
			if err != nil {
				t.Fatal(err)
			}
			// The rest is the programs themselves and their libraries.
			if m.read < size || m.read > size+1<<20 || m.written < size || m.written > size+1<<16 {
				t.Errorf("got %+v of %d bytes that were copied", m, size)
			}
		})
	}
	if _, err := runCounted(exec.Command("sh", "-c", "exit 3")); err == nil || err.Error() != "exit status 3" {
		t.Errorf("got %v for a program that fails", err)
	}
	if _, err := runCounted(exec.Command(filepath.Join(t.TempDir(), "nothing"))); err == nil {
		t.Error("a program that is not there ran")
	}
}
