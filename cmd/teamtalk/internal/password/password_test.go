package password_test

import (
	"os"
	"path/filepath"
	"testing"

	"teamtalk/cmd/teamtalk/internal/exit"
	"teamtalk/cmd/teamtalk/internal/password"
)

// write makes a file with a text and returns its name.
func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestRead(t *testing.T) {
	t.Setenv("TEST_PASSWORD", "from env") // not parallel: the environment is shared
	stdin, err := os.Open(write(t, "from stdin\nnot this\n"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = stdin.Close() }()
	tests := map[string]struct {
		source password.Source
		want   string
		code   int
	}{
		"flag":       {password.Source{Literal: "x", Env: "TEST_PASSWORD"}, "x", 0},
		"file":       {password.Source{File: write(t, "from file\r\nnot this"), Env: "TEST_PASSWORD"}, "from file", 0},
		"stdin":      {password.Source{File: "-", Stdin: stdin}, "from stdin", 0},
		"env":        {password.Source{Env: "TEST_PASSWORD"}, "from env", 0},
		"empty file": {password.Source{File: write(t, "\nx")}, "", exit.Usage},
		"no file":    {password.Source{File: filepath.Join(t.TempDir(), "none")}, "", exit.Failed},
		"none":       {password.Source{Prompt: "?", Stdin: stdin}, "", exit.Usage},
	}
	for name, test := range tests {
		got, err := password.Read(test.source)
		if got != test.want || exit.Code(err) != test.code {
			t.Errorf("%s: %q, %v; want %q and code %d", name, got, err, test.want, test.code)
		}
	}
}
