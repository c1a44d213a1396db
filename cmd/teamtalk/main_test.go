package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

func TestExitCodes(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		args   []string
		code   int
		stdout string
		stderr string
	}{
		"version":         {[]string{"version"}, 0, "teamtalk ", ""},
		"help":            {[]string{"help"}, 0, "Usage:", ""},
		"no command":      {nil, 0, "Usage:", ""},
		"unknown command": {[]string{"dance"}, 2, "", `unknown command "dance"`},
		"unknown flag":    {[]string{"version", "--loud"}, 2, "", "unknown flag: --loud"},
		"too many words":  {[]string{"version", "please"}, 2, "", "teamtalk: "},
		"chat as nobody":  {[]string{"chat"}, 2, "", "--user is missing"},
		"serve somewhere": {[]string{"serve", "--listen", "nowhere"}, 2, "", "--listen takes an IPv4 address"},
		"user nothing":    {[]string{"user"}, 2, "", "say what to do"},
		"user dance":      {[]string{"user", "dance"}, 2, "", "unknown command"},
		"group of nobody": {[]string{"group", "add", "g"}, 2, "", "--members"},
		"no data":         {[]string{"user", "list", "--data", "/does/not/exist"}, 1, "", "there is no data"},
		"bench no mode":   {[]string{"bench"}, 2, "", "mode"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var stdout, stderr bytes.Buffer
			code := run(t.Context(), test.args, strings.NewReader(""), &stdout, &stderr)
			if code != test.code {
				t.Errorf("exit code %d, want %d; stderr: %s", code, test.code, stderr.String())
			}
			if !strings.Contains(stdout.String(), test.stdout) || !strings.Contains(stderr.String(), test.stderr) {
				t.Errorf("stdout %q, stderr %q", stdout.String(), stderr.String())
			}
			if strings.Count(strings.TrimSpace(stderr.String()), "\n") > 0 {
				t.Errorf("more than one line on stderr: %s", stderr.String())
			}
		})
	}
}

// find returns the command with a path.
func find(t *testing.T, path []string) *cobra.Command {
	t.Helper()
	cmd, _, err := root().Find(path)
	if err != nil {
		t.Fatal(err)
	}
	return cmd
}
