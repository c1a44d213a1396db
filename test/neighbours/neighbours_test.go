//go:build unix

// Package neighbours runs our roles with originals around them: the program in
// test/original plays every server that is not ours, and the clients, and ends
// at the first thing that an original would not have sent. Our roles are built
// with the race detector.
package neighbours

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/bits"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"teamtalk/internal/testenv"
	"teamtalk/test/e2e/cluster"
)

// bin is the folder of the binaries, built once for all tests.
var bin string //nolint:gochecknoglobals // made by TestMain

// together is how many clusters run at a time.
const together = "4"

func TestMain(m *testing.M) {
	if err := flag.Set("test.parallel", together); err != nil {
		panic(err) // there is such a flag
	}
	dir, err := os.MkdirTemp("", "tt-bin")
	if err == nil {
		bin = dir
		err = errors.Join(cluster.BuildOriginal(dir), cluster.Build(dir, true))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	testenv.Main(m, func() error { return os.RemoveAll(dir) })
}

// names are who takes part in the scenario.
var names = []string{"alice", "bob", "cara"} //nolint:gochecknoglobals // a table

// all plays every choice; without it those with one original, and the two
// without a mixture, are enough.
var all = flag.Bool("all", false, "every combination of originals") //nolint:gochecknoglobals // a flag

// TestCombinations plays the scenario of the original's clients against two
// msg_servers, with every choice of which servers are originals.
func TestCombinations(t *testing.T) {
	t.Parallel()
	for mask := range 1 << 5 {
		if n := bits.OnesCount(uint(mask)); !*all && n > 1 && n < 5 {
			continue
		}
		originals := []string{}
		for i, name := range []string{"db_proxy_1", "route_server_1", "login_server_1", "msg_server_1", "msg_server_2"} {
			if mask&(1<<i) != 0 {
				originals = append(originals, name)
			}
		}
		t.Run("original "+strings.Join(originals, " "), func(t *testing.T) {
			t.Parallel()
			c, users := start(t, originals)
			play(t, c, users, originals)
		})
	}
}

// start starts a cluster with the accounts of the scenario.
func start(t *testing.T, originals []string) (c *cluster.Cluster, users string) {
	t.Helper()
	users = accounts([]uint32{1, 2, 3})
	c = cluster.Start(t, cluster.Options{Bin: bin, Originals: originals, Accounts: users})
	if !slices.Contains(originals, "db_proxy_1") {
		made, err := c.CreateUsers(t.Context(), names, "12345")
		if err != nil {
			t.Fatal(err)
		}
		ids := make([]uint32, len(made))
		for i, id := range made {
			ids[i] = uint32(id)
		}
		users = accounts(ids)
	}
	return c, users
}

func accounts(ids []uint32) string {
	var list []string
	for i, name := range names {
		list = append(list, fmt.Sprintf("%d:%s", ids[i], name))
	}
	return strings.Join(list, ",")
}

// play runs the clients.
func play(t *testing.T, c *cluster.Cluster, users string, originals []string) {
	t.Helper()
	var servers []string
	for _, number := range []string{"1", "2"} {
		addr, err := c.MsgServer(number)
		if err != nil {
			t.Fatal(err)
		}
		servers = append(servers, addr)
	}
	if slices.Contains(originals, "db_proxy_1") {
		originals = append(slices.Clone(originals), "db_proxy")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, filepath.Join(bin, "original"), "client", "--login", c.LoginURL(),
		"--servers", strings.Join(servers, ","), "--users", users,
		"--originals", strings.Join(originals, ",")).CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
