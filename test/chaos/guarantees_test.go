//go:build unix

package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"teamtalk/test/chaos/internal/check"
	"teamtalk/test/chaos/internal/schedule"
)

// TestGuarantees compares docs/guarantees.md with the tests that it names, the
// rules and the faults.
func TestGuarantees(t *testing.T) {
	t.Parallel()
	const root = "../.."
	text, err := os.ReadFile(filepath.Join(root, "docs", "guarantees.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, rule := range check.Rules() {
		if !strings.Contains(string(text), "`"+string(rule)+"`") {
			t.Errorf("rule %q is not there", rule)
		}
	}
	for _, kind := range schedule.Kinds() {
		if !strings.Contains(string(text), "`"+string(kind)+"`") {
			t.Errorf("fault %q is not there", kind)
		}
	}
	// "- folder: `TestOne`, some.dialog", perhaps over several lines.
	entry := regexp.MustCompile(`(?m)^- ([a-z0-9_/]+): ((?:.|\n  )*)`)
	name := regexp.MustCompile("`(Test[A-Za-z]+)`|([a-z_]+\\.dialog)")
	found := 0
	for _, m := range entry.FindAllStringSubmatch(string(text), -1) {
		tests := source(t, filepath.Join(root, m[1]))
		for _, n := range name.FindAllStringSubmatch(m[2], -1) {
			found++
			if n[1] != "" && !strings.Contains(tests, "\nfunc "+n[1]+"(") {
				t.Errorf("%s has no %s", m[1], n[1])
			}
			if n[2] != "" {
				if _, err := os.Stat(filepath.Join(root, m[1], "dialogs", n[2])); err != nil {
					t.Error(err)
				}
			}
		}
	}
	if found < 40 {
		t.Errorf("only %d tests found in the text", found)
	}
}

// source returns the text of all tests of a folder.
func source(t *testing.T, dir string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil || len(files) == 0 {
		t.Errorf("%s has no tests (%v)", dir, err)
	}
	var b strings.Builder
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		b.Write(text)
	}
	return b.String()
}
