// Command planted puts the original's defects back into our code, one at a
// time, and runs the tests that docs/compatibility.md names for them: each has
// to fail. testdata has an archive for every defect. The tree stays as it is:
// go builds the changed files in place of ours by its -overlay.
//
//	./build.sh accept defects [-v] [A2 B7...]
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

func main() {
	verbose := flag.Bool("v", false, "print what the tests print")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	ok, err := run(ctx, flag.Args(), *verbose)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "planted:", err)
		os.Exit(2)
	}
	if !ok {
		os.Exit(1)
	}
}

// run plants the defects of these ids, or all, and reports whether every one
// was noticed. It runs in the root of the repository.
func run(ctx context.Context, ids []string, verbose bool) (bool, error) {
	all, err := readAll(filepath.Join("test", "planted", "testdata"))
	if err != nil {
		return false, err
	}
	for _, id := range ids {
		if !slices.ContainsFunc(all, func(d *defect) bool { return d.id == id }) {
			return false, fmt.Errorf("there is no archive of %s", id)
		}
	}
	planted, noticed := 0, 0
	for _, d := range all {
		if len(ids) > 0 && !slices.Contains(ids, d.id) {
			continue
		}
		planted++
		began := time.Now()
		results, err := plant(ctx, d)
		if ctx.Err() != nil {
			return false, ctx.Err()
		}
		line, good := verdict(results)
		if err != nil { // the code has changed
			line, good = err.Error(), false
		}
		if good {
			noticed++
		}
		fmt.Fprintf(os.Stdout, "%-4s %-9s %5.1fs  %s\n", d.id, word(good), time.Since(began).Seconds(), line)
		for _, r := range results {
			if verbose || r.how != noticedIt {
				fmt.Fprintln(os.Stdout, indent(r.output))
			}
		}
	}
	fmt.Fprintf(os.Stdout, "%d of %d defects are noticed\n", noticed, planted)
	return noticed == planted, nil
}

// verdict sums the tests of one defect up in a line.
func verdict(results []result) (line string, good bool) {
	var parts []string
	good = true
	for _, r := range results {
		part := strings.TrimPrefix(r.dir, "./") + " " + r.test
		if r.how != noticedIt {
			good = false
			part += " (" + string(r.how) + ")"
		}
		parts = append(parts, part)
	}
	return strings.Join(parts, ", "), good
}

func word(good bool) string {
	if good {
		return "noticed"
	}
	return "NOT SEEN"
}

// indent shifts the end of what a test printed to the right.
func indent(output string) string {
	const most = 60
	lines := strings.Split(strings.TrimSpace(output), "\n")
	return "     | " + strings.Join(lines[max(0, len(lines)-most):], "\n     | ")
}
