//go:build unix

// Package e2e plays scenarios against the built binaries, real MariaDB and
// Redis. dialogs/*.dialog are conversations in the language of package dialog;
// what does not fit it, such as load during a crash, is Go beside it.
//
// E2E_RACE=1 builds the roles with the race detector.
package e2e

import (
	"flag"
	"fmt"
	"os"
	"testing"

	"teamtalk/internal/testenv"
	"teamtalk/test/e2e/cluster"
)

// bin is the folder of the binaries, built once for all tests.
var bin string //nolint:gochecknoglobals // made by TestMain

// together is how many scenarios play at a time: most of them wait most of the
// time.
const together = "6"

func TestMain(m *testing.M) {
	if err := flag.Set("test.parallel", together); err != nil {
		panic(err) // there is such a flag
	}
	dir, err := os.MkdirTemp("", "tt-bin")
	if err == nil {
		bin = dir
		err = cluster.Build(dir, os.Getenv("E2E_RACE") == "1")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	testenv.Main(m, func() error { return os.RemoveAll(dir) })
}
