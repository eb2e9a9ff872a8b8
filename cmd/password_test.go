package cmd

import (
	"bytes"
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestPassword(t *testing.T) {
	dir := t.TempDir()
	file := func(text string) passwordSource {
		name := filepath.Join(dir, t.Name()+"-"+time.Now().Format("150405.000000000"))
		return passwordSource{kind: passwordFile, file: writeFile(t, name, text)}
	}
	command := func(line string) passwordSource { return passwordSource{kind: passwordCommand, command: line} }
	tests := []struct {
		name   string
		source passwordSource
		want   string
		err    string // part of the error
		stderr string
	}{
		{"file", file("secret\n"), "secret", "", ""},
		{"file, blanks within and around", file(" \tse cret \r\n\n"), "se cret", "", ""},
		{"file with a mark", file("\xef\xbb\xbfsecret"), "secret", "", ""},
		{"file in UTF-16", file("\xff\xfes\x00\xe4\x00"), "sä", "", ""},
		{"file in UTF-16, the other way", file("\xfe\xff\x00s\x00\xe4"), "sä", "", ""},
		{"file of odd bytes", file("\xff\x01"), "\xff\x01", "", ""},
		{"file, empty", file(" \n"), "", "the password is empty", ""},
		{"file, missing", passwordSource{kind: passwordFile, file: filepath.Join(dir, "none")}, "", "password file: open ", ""},
		{"file, endless", passwordSource{kind: passwordFile, file: "/dev/zero"}, "", "is larger than 64 KiB", ""},
		{"command", command("echo secret"), "secret", "", ""},
		{"command with quotes", command(`sh -c 'echo "se  cret"'`), "se  cret", "", ""},
		{"command that speaks", command(`sh -c 'echo touch the key >&2; echo secret'`), "secret", "", "touch the key\n"},
		{"command that fails", command(`sh -c 'echo secret; exit 3'`), "", "password command: exit status 3", ""},
		{"command that says nothing", command("true"), "", "the password is empty", ""},
		{"command that is missing", command("/none/such secret"), "", "password command: fork/exec /none/such: no such file or directory", ""},
		{"command without words", command("  "), "", "password command: there is no command", ""},
		{"environment", passwordSource{kind: passwordEnvironment}, " as it is\n", "", ""},
		{"none wanted", passwordSource{kind: passwordEmpty}, "", "", ""},
		{"nobody to ask", passwordSource{}, "", "no password is given, and there is no terminal to ask for it", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := newTestHost(map[string]string{"BLUESKY_PASSWORD": " as it is\n"})
			got, err := newEnv(h.host).password(t.Context(), tt.source)
			if string(got) != tt.want || !strings.Contains(errorText(err), tt.err) || (err == nil) != (tt.err == "") {
				t.Errorf("got %q, %v; want %q, %q", got, err, tt.want, tt.err)
			}
			if strings.Contains(errorText(err), "secret") {
				t.Errorf("the error tells the password: %v", err)
			}
			if h.err.String() != tt.stderr {
				t.Errorf("stderr %q, want %q", h.err.String(), tt.stderr)
			}
		})
	}
}

func TestPasswordHints(t *testing.T) {
	e := newEnv(newTestHost(nil).host)
	for source, want := range map[passwordSource]string{
		{}:                                      "give one with --password-file, --password-command or BLUESKY_PASSWORD",
		{kind: passwordFile, file: "/dev/null"}: "--insecure-no-password allows that",
	} {
		_, err := e.password(t.Context(), source)
		if err == nil || classify(err, nil).hint != want {
			t.Errorf("got %v, want the hint %q", err, want)
		}
	}
}

// answering lets somebody type these lines at a terminal.
func answering(h *testHost, lines ...string) {
	h.stdinTerminal = true
	h.ask = func(_ context.Context, show func(string), prompt string) ([]byte, error) {
		show(prompt)
		line := lines[0]
		lines = lines[1:]
		return []byte(line), nil
	}
}

func TestPasswordAsked(t *testing.T) {
	h := newTestHost(nil)
	answering(h, " secret ")
	e := newEnv(h.host)
	got, err := e.password(t.Context(), passwordSource{})
	if err != nil || string(got) != " secret " {
		t.Errorf("got %q, %v", got, err)
	}
	if h.err.String() != "enter password for repository: " || h.out.Len() > 0 {
		t.Errorf("stderr %q, stdout %q", h.err.String(), h.out.String())
	}
	if !e.canRetry(passwordSource{}) || e.canRetry(passwordSource{kind: passwordEnvironment}) {
		t.Error("only a person can try again")
	}
}

func TestNewPassword(t *testing.T) {
	tests := []struct {
		name  string
		lines []string
		want  string
		err   error
	}{
		{"the same twice", []string{"a", "a"}, "a", nil},
		{"not the same", []string{"a", "b"}, "", errPasswordMismatch},
		{"empty", []string{""}, "", errPasswordEmpty},
		{"empty the second time", []string{"a", ""}, "", errPasswordEmpty},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := newTestHost(nil)
			answering(h, tt.lines...)
			got, err := newEnv(h.host).newPassword(t.Context(), passwordSource{})
			if string(got) != tt.want || !errors.Is(err, tt.err) {
				t.Errorf("got %q, %v; want %q, %v", got, err, tt.want, tt.err)
			}
		})
	}
	// Nobody types a file twice.
	name := writeFile(t, filepath.Join(t.TempDir(), "p"), "a\n")
	got, err := newEnv(newTestHost(nil).host).newPassword(t.Context(), passwordSource{kind: passwordFile, file: name})
	if err != nil || !bytes.Equal(got, []byte("a")) {
		t.Errorf("got %q, %v", got, err)
	}
}

// A command that hangs does not keep an interrupted bluesky.
func TestPasswordCommandInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	h := newTestHost(nil)
	h.stderr = writerFunc(func(p []byte) (int, error) { cancel(); return len(p), nil })
	_, err := newEnv(h.host).password(ctx, passwordSource{kind: passwordCommand, command: "sh -c 'echo ready >&2; exec sleep 60'"})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want a cancellation", err)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func TestSplitCommand(t *testing.T) {
	tests := []struct {
		in   string
		want []string // nil for an error
	}{
		{"pass show bluesky", []string{"pass", "show", "bluesky"}},
		{"  a \t b\n", []string{"a", "b"}},
		{`a "b c" 'd e'`, []string{"a", "b c", "d e"}},
		{`a"b c"d`, []string{"ab cd"}},
		{`a '' ""`, []string{"a", "", ""}},
		{`a\ b`, []string{"a b"}},
		{`a "\"\\\n"`, []string{"a", `"\\n`}},
		{`a '\'`, []string{"a", `\`}},
		{`a "it's"`, []string{"a", "it's"}},
		{`ä ö`, []string{"ä", "ö"}},
		{`a $HOME *`, []string{"a", "$HOME", "*"}},
		{"", nil},
		{" ", nil},
		{`''`, nil},
		{`a "b`, nil},
		{`a 'b`, nil},
		{`a \`, nil},
	}
	for _, tt := range tests {
		got, err := splitCommand(tt.in)
		if !slices.Equal(got, tt.want) || (err == nil) != (tt.want != nil) {
			t.Errorf("splitCommand(%q) = %q, %v; want %q", tt.in, got, err, tt.want)
		}
	}
}

// Words in single quotes come back as they were.
func FuzzSplitCommand(f *testing.F) {
	f.Add("a", `b "c`)
	f.Add(`\`, "")
	f.Add("\xff", "\n")
	f.Fuzz(func(t *testing.T, a, b string) {
		splitCommand(a + b) // no panic
		a, b = strings.ToValidUTF8(a, "?"), strings.ToValidUTF8(b, "?")
		if a == "" {
			return
		}
		quoteWord := func(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
		got, err := splitCommand(quoteWord(a) + " " + quoteWord(b))
		if err != nil || !slices.Equal(got, []string{a, b}) {
			t.Errorf("%q, %q became %q, %v", a, b, got, err)
		}
	})
}
