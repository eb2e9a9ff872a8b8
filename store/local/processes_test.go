package local_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"bluesky/store"
)

// racerEnv names the variable that makes a process a racer in this folder.
const racerEnv = "BLUESKY_TEST_RACER"

func TestMain(m *testing.M) {
	if dir := os.Getenv(racerEnv); dir != "" {
		if err := racer(dir, os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m)
}

const (
	racers    = 4 // processes
	perRacer  = 8 // goroutines of each
	racedKeys = 2000
)

func racedKey(i int) string { return fmt.Sprintf("gen/%04d", i) }

// A raced is what a racer has to tell.
type raced struct {
	Won  map[string]string // the bytes of the keys that it has created
	Read map[string]string // the bytes of all keys, when it was through
}

// racer creates all keys, in each of its goroutines, once it is told to begin.
func racer(dir string, stdin io.Reader, stdout io.Writer) error {
	s, err := store.Open(context.Background(), dir)
	if err != nil {
		return err
	}
	defer s.Close()
	fmt.Fprintln(stdout, "ready")
	if _, err := bufio.NewReader(stdin).ReadByte(); err != nil {
		return err
	}
	result := raced{map[string]string{}, map[string]string{}}
	var mu sync.Mutex
	var wg sync.WaitGroup
	failed := make([]error, perRacer)
	for g := range perRacer {
		wg.Go(func() {
			for i := range racedKeys {
				body := fmt.Sprintf("of process %d, goroutine %d, key %d", os.Getpid(), g, i)
				switch err := s.PutNew(context.Background(), racedKey(i), []byte(body)); {
				case err == nil:
					mu.Lock()
					if other, ok := result.Won[racedKey(i)]; ok {
						failed[g] = fmt.Errorf("%s was created twice: %q and %q", racedKey(i), other, body)
					}
					result.Won[racedKey(i)] = body
					mu.Unlock()
				case !errors.Is(err, store.ErrExists):
					failed[g] = err
					return
				}
			}
		})
	}
	wg.Wait()
	if err := errors.Join(failed...); err != nil {
		return err
	}
	if result.Read, err = readAll(s); err != nil {
		return err
	}
	return json.NewEncoder(stdout).Encode(result)
}

func readAll(s *store.Store) (map[string]string, error) {
	all := map[string]string{}
	for i := range racedKeys {
		data, err := s.Get(context.Background(), racedKey(i), 1<<10)
		if err != nil {
			return nil, err
		}
		all[racedKey(i)] = string(data)
	}
	return all, nil
}

// Goroutines of several processes create the same keys: each key has one winner
// among all of them, whose bytes everybody reads.
func TestRaceOfProcesses(t *testing.T) {
	dir := t.TempDir()
	if shm, err := os.MkdirTemp("/dev/shm", "bluesky-test-"); err == nil { // 64,000 creates are not about the disk
		dir = shm
		t.Cleanup(func() { os.RemoveAll(shm) })
	}
	type process struct {
		*exec.Cmd
		stdin  io.WriteCloser
		stdout *bufio.Reader
		stderr bytes.Buffer
	}
	var all []*process
	for range racers {
		p := &process{Cmd: exec.CommandContext(t.Context(), os.Args[0])}
		p.Env = append(os.Environ(), racerEnv+"="+dir, "GORACE=atexit_sleep_ms=0")
		p.Cmd.Stderr = &p.stderr
		var err error
		if p.stdin, err = p.StdinPipe(); err != nil {
			t.Fatal(err)
		}
		stdout, err := p.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		p.stdout = bufio.NewReader(stdout)
		if err := p.Start(); err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	for _, p := range all {
		if line, err := p.stdout.ReadString('\n'); err != nil {
			t.Fatalf("%q, %v: %s", line, err, &p.stderr)
		}
	}
	for _, p := range all {
		if _, err := p.stdin.Write([]byte("!")); err != nil {
			t.Fatal(err)
		}
	}
	winners := map[string]string{}
	var wins []int
	var read []map[string]string
	for _, p := range all {
		var result raced
		decoded := json.NewDecoder(p.stdout).Decode(&result)
		if err := errors.Join(decoded, p.Wait()); err != nil {
			t.Fatalf("%v: %s", err, &p.stderr)
		}
		for key, body := range result.Won {
			if other, ok := winners[key]; ok {
				t.Errorf("%s has two winners: %q and %q", key, other, body)
			}
			winners[key] = body
		}
		wins = append(wins, len(result.Won))
		read = append(read, result.Read)
	}
	if len(winners) != racedKeys {
		t.Errorf("%d keys have a winner, want %d", len(winners), racedKeys)
	}
	for i := range read {
		if !maps.Equal(read[i], winners) {
			t.Errorf("process %d reads other bytes than the winners wrote", i)
		}
	}
	t.Logf("%d creates, %v of them won by each process", racers*perRacer*racedKeys, wins)
}
