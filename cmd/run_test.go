package cmd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/spf13/cobra"
)

func returning(err error) func(*env) *cobra.Command {
	return func(*env) *cobra.Command {
		return &cobra.Command{Use: "test", RunE: func(*cobra.Command, []string) error { return err }}
	}
}

func TestRunReports(t *testing.T) {
	tests := []struct {
		name string
		args []string
		err  error
		code int
		want string // on stderr
	}{
		{"success", []string{"test"}, nil, 0, ""},
		{"error", []string{"test"}, errors.New("no space"), 1, "Fatal: no space\n"},
		{"hint", []string{"test"}, withHint(errors.New("no space"), "buy %s", "disks"), 1, "Fatal: no space\nhint: buy disks\n"},
		{"code", []string{"test"}, &exitError{code: 12, err: errors.New("wrong")}, 12, "Fatal: wrong\n"},
		{"incomplete", []string{"test"}, fmt.Errorf("snapshot 1234abcd: %w", errIncomplete), 3,
			"Warning: snapshot 1234abcd: at least one source file could not be read\n"},
		{"odd names", []string{"test"}, errors.New("open a\x1b[2J\nb\xff: ä"), 1, `Fatal: open a\x1b[2J\nb\xff: ä` + "\n"},
		{"json", []string{"test", "--json"}, withHint(errors.New("no space"), "buy disks"), 1,
			`{"message_type":"exit_error","code":1,"message":"no space","hint":"buy disks"}` + "\n"},
		{"json, no hint", []string{"test", "--json"}, errIncomplete, 3,
			`{"message_type":"exit_error","code":3,"message":"at least one source file could not be read"}` + "\n"},
		{"a cancelled part is no interrupt", []string{"test"}, context.Canceled, 1, "Fatal: context canceled\n"},
		{"unknown flag", []string{"test", "--bogus"}, nil, 1, "Fatal: unknown flag: --bogus\nhint: run bluesky test --help\n"},
		{"unknown flag, json", []string{"test", "--json", "--bogus"}, nil, 1,
			`{"message_type":"exit_error","code":1,"message":"unknown flag: --bogus","hint":"run bluesky test --help"}` + "\n"},
		{"unknown command", []string{"bogus"}, nil, 1, "Fatal: unknown command \"bogus\" for \"bluesky\"\nhint: run bluesky --help\n"},
		{"nearly a command", []string{"versoin"}, nil, 1, "Fatal: unknown command \"versoin\" for \"bluesky\"\nhint: did you mean version?\n"},
		{"too many arguments", []string{"version", "x"}, nil, 1, "Fatal: bluesky version takes no arguments, not \"x\"\nhint: run bluesky version --help\n"},
		{"loud and quiet", []string{"test", "-q", "-v"}, nil, 1, "Fatal: --quiet and --verbose exclude each other\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := newTestHost(nil)
			if code := h.execute(t.Context(), tt.args, returning(tt.err)); code != tt.code {
				t.Errorf("exit code %d, want %d", code, tt.code)
			}
			if got := h.err.String(); got != tt.want {
				t.Errorf("stderr\ngot  %q\nwant %q", got, tt.want)
			}
			if h.out.Len() > 0 {
				t.Errorf("stdout %q", h.out.String())
			}
		})
	}
}

func TestRunRules(t *testing.T) {
	missing := errors.New("there is no repository")
	rules := []exitRule{
		{is: missing, code: exitNoRepository, hint: "run bluesky init"},
		{is: errors.ErrUnsupported, code: exitFatal, hint: "upgrade"},
	}
	tests := []struct {
		name string
		err  error
		want failure
	}{
		{"rule", fmt.Errorf("open: %w", missing), failure{10, "open: there is no repository", "run bluesky init"}},
		{"the first rule counts", errors.Join(errors.ErrUnsupported, missing), failure{10, "unsupported operation; there is no repository", "run bluesky init"}},
		{"own hint before the rule's", withHint(missing, "look again"), failure{10, "there is no repository", "look again"}},
		{"own code before the rule's", &exitError{code: 12, err: missing}, failure{12, "there is no repository", "run bluesky init"}},
		{"no rule", errors.New("else"), failure{1, "else", ""}},
		{"joined errors", fmt.Errorf("commit: %w", errors.Join(errors.New("a\nb"), errors.Join(errors.New("c"), errors.New("d")))),
			failure{1, "commit: a\nb; c; d", ""}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := classify(tt.err, rules); got != tt.want {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
}

// An interrupted command exits with 130 whatever it returns.
func TestRunInterrupted(t *testing.T) {
	for err, hint := range map[error]string{
		nil:                               "",
		context.Canceled:                  "",
		errors.New("upload: broken pipe"): "",
		withHint(context.Canceled, "run it again to go on"): `,"hint":"run it again to go on"`,
	} {
		h := newTestHost(nil)
		ctx, cancel := context.WithCancel(t.Context())
		code := h.execute(ctx, []string{"test", "--json"}, func(*env) *cobra.Command {
			return &cobra.Command{Use: "test", RunE: func(*cobra.Command, []string) error {
				cancel()
				return err
			}}
		})
		want := `{"message_type":"exit_error","code":130,"message":"interrupted"` + hint + "}\n"
		if got := h.err.String(); code != exitInterrupted || got != want {
			t.Errorf("%v: exit code %d, stderr %q; want 130, %q", err, code, got, want)
		}
	}
}

// One that ends at once says no more than that.
func TestRunInterruptedAtOnce(t *testing.T) {
	h := newTestHost(nil)
	ctx, cancel := context.WithCancel(t.Context())
	code := h.execute(ctx, []string{"test"}, func(*env) *cobra.Command {
		return &cobra.Command{Use: "test", RunE: func(*cobra.Command, []string) error {
			cancel()
			return ctx.Err()
		}}
	})
	if got := h.err.String(); code != exitInterrupted || got != "Fatal: interrupted\n" {
		t.Errorf("exit code %d, stderr %q", code, got)
	}
}

// While an interrupted command finishes, it says so.
func TestRunNotesInterrupt(t *testing.T) {
	h := newTestHost(nil)
	noted := make(chan struct{})
	h.stderr = writerFunc(func(p []byte) (int, error) {
		if strings.HasPrefix(string(p), "interrupted: ") {
			close(noted)
		}
		return h.err.Write(p)
	})
	ctx, cancel := context.WithCancel(t.Context())
	code := h.execute(ctx, []string{"test"}, func(*env) *cobra.Command {
		return &cobra.Command{Use: "test", RunE: func(*cobra.Command, []string) error {
			cancel()
			<-noted
			return ctx.Err()
		}}
	})
	want := "interrupted: finishing; a second interrupt ends at once\nFatal: interrupted\n"
	if got := h.err.String(); code != exitInterrupted || got != want {
		t.Errorf("exit code %d, stderr %q; want 130, %q", code, got, want)
	}
}

type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, syscall.ENOSPC }

// Who cannot deliver the answer has not succeeded.
func TestRunLostAnswer(t *testing.T) {
	h := newTestHost(nil)
	h.stdout = fullDisk{}
	code := h.execute(t.Context(), []string{"version"}, nil)
	if want := "Fatal: writing the output: no space left on device\n"; code != 1 || h.err.String() != want {
		t.Errorf("exit code %d, stderr %q; want 1, %q", code, h.err.String(), want)
	}
}

func TestInterruptible(t *testing.T) {
	signals := make(chan os.Signal)
	exits := make(chan int)
	ctx, stop := interruptible(t.Context(), signals, func(code int) { exits <- code })
	if ctx.Err() != nil {
		t.Fatal("cancelled from the start")
	}
	signals <- syscall.SIGINT
	<-ctx.Done()
	signals <- syscall.SIGTERM
	if code := <-exits; code != exitInterrupted {
		t.Errorf("the second signal exits with %d, want %d", code, exitInterrupted)
	}
	stop()

	ctx, stop = interruptible(t.Context(), signals, func(int) { t.Error("exit without a signal") })
	stop()
	if ctx.Err() == nil {
		t.Error("stop leaves the context open")
	}
}

func TestVersion(t *testing.T) {
	h := newTestHost(nil)
	if code := h.execute(t.Context(), []string{"version", "--json"}, nil); code != 0 {
		t.Fatalf("exit code %d: %s", code, h.err.String())
	}
	var got map[string]string
	if err := json.Unmarshal([]byte(h.out.String()), &got); err != nil {
		t.Fatal(err)
	}
	if got["message_type"] != "version" || got["version"] != version || got["go_version"] == "" || got["go_os"] == "" || got["go_arch"] == "" || len(got) != 5 {
		t.Errorf("got %v", got)
	}
}
