package cmd

import (
	"bytes"
	"context"
	"errors"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/spf13/cobra"
)

// A testHost is a host whose streams are memory.
type testHost struct {
	host
	out, err lockedBuffer
}

// A lockedBuffer may be read while something still writes to it.
type lockedBuffer struct {
	mu     sync.Mutex
	buffer bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.String()
}

func (b *lockedBuffer) Len() int { return len(b.String()) }

// newTestHost has no terminal, the given environment, and nothing on stdin.
func newTestHost(environment map[string]string) *testHost {
	h := new(testHost)
	h.host = host{
		stdin:  strings.NewReader(""),
		stdout: &h.out,
		stderr: &h.err,
		width:  func() int { return 80 },
		ask: func(context.Context, func(string), string) ([]byte, error) {
			return nil, errors.New("nobody was to be asked")
		},
		getenv: func(name string) string { return environment[name] },
		now:    time.Now,
	}
	return h
}

// execute runs a command line with more commands than the usual ones.
func (h *testHost) execute(ctx context.Context, args []string, more func(e *env) *cobra.Command) int {
	e := newEnv(h.host)
	all := commands(e)
	if more != nil {
		all = append(all, more(e))
	}
	return run(ctx, e, newRootCommand(e, all...), args)
}

func writeFile(t *testing.T, name, text string) string {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}
