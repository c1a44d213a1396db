package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// outcome is how a test ended that should have noticed a defect.
type outcome string

const (
	noticedIt  outcome = "it fails"
	unnoticed  outcome = "it passes"
	timedOut   outcome = "it does not end"
	notBuilt   outcome = "it does not compile"
	notRun     outcome = "there is no such test"
	skipped    outcome = "it is skipped"
	notStarted outcome = "something before it fails"
)

// result is a test, how it ended, and what it printed.
type result struct {
	named
	how    outcome
	output string
}

// How long one test may take, without the time to build it; those that run
// clusters build these, too.
const (
	testTimeout    = "120s"
	clusterTimeout = "600s"
)

// plant writes the changed files and the overlay of one defect to a temporary
// folder, and runs its tests with them.
func plant(ctx context.Context, d *defect) (_ []result, err error) {
	root, err := os.Getwd()
	if err != nil {
		return nil, err
	}
	texts, err := d.mutate(os.DirFS(root))
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "planted")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	replace := make(map[string]string)
	for file, text := range texts {
		changed := filepath.Join(dir, strconv.Itoa(len(replace))+filepath.Ext(file))
		if err := os.WriteFile(changed, []byte(text), 0o600); err != nil {
			return nil, err
		}
		replace[filepath.Join(root, filepath.FromSlash(file))] = changed
	}
	content, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return nil, err
	}
	overlay := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(overlay, content, 0o600); err != nil {
		return nil, err
	}
	var results []result
	for _, n := range d.tests {
		r, err := try(ctx, n, overlay)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", d.id, err)
		}
		results = append(results, r)
	}
	return results, nil
}

// try runs one test with an overlay, which reaches the builds of end-to-end
// tests by the environment.
func try(ctx context.Context, n named, overlay string) (result, error) {
	var expression []string
	for part := range strings.SplitSeq(n.test, "/") {
		expression = append(expression, "^"+regexp.QuoteMeta(part)+"$")
	}
	timeout := testTimeout
	if strings.HasPrefix(n.dir, "./test/") {
		timeout = clusterTimeout
	}
	cmd := exec.CommandContext(ctx, "go", "test", "-json", "-vet=off", "-count=1", "-timeout", timeout,
		"-run", strings.Join(expression, "/"), n.dir)
	cmd.Env = append(os.Environ(), "GOFLAGS="+strings.TrimSpace(os.Getenv("GOFLAGS")+" -overlay="+overlay))
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if ctx.Err() != nil {
		return result{}, ctx.Err()
	}
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		return result{}, err
	}
	how, output := judge(&out, n.test)
	return result{named: n, how: how, output: output + errs.String()}, nil
}

// judge reads what go test -json printed about a test.
func judge(events *bytes.Buffer, test string) (outcome, string) {
	how := notRun
	var output strings.Builder
	lines := bufio.NewScanner(events)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var event struct{ Action, Test, Output, FailedBuild string }
		if json.Unmarshal(lines.Bytes(), &event) != nil {
			continue
		}
		output.WriteString(event.Output)
		switch {
		case strings.HasPrefix(event.Output, "panic: test timed out"):
			how = timedOut
		case how == timedOut:
		case event.FailedBuild != "" || event.Action == "build-fail":
			how = notBuilt
		case event.Test == test && event.Action == "fail":
			how = noticedIt
		case event.Test == test && event.Action == "pass":
			how = unnoticed
		case event.Test == test && event.Action == "skip":
			how = skipped
		case event.Action == "fail" && how == notRun: // of the test above it, or of the package
			how = notStarted
		}
	}
	return how, output.String()
}
