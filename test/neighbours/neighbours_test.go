//go:build unix

// Package neighbours runs our roles with originals around them: the program in
// test/original plays every server that is not ours, and the clients, and ends
// at the first thing that an original would not have sent. Our roles are built
// with the race detector.
package neighbours

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
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

// all plays every choice of the five servers that every installation has;
// without it, each role is an original beside ours, and ours beside originals.
var all = flag.Bool("all", false, "every combination of originals") //nolint:gochecknoglobals // a flag

// roles are the servers of the scenario, by the bits of a choice.
var roles = []string{ //nolint:gochecknoglobals // a table
	"db_proxy_1", "route_server_1", "login_server_1", "msg_server_1", "msg_server_2",
	"file_server_1", "push_server_1", "http_msg_server_1",
}

// The bits of a choice.
const (
	db = 1 << iota
	route
	login
	msg1
	msg2
	files
	push
	site
)

// choices are which servers are originals.
func choices() (masks []int) {
	if !*all {
		return []int{
			0, db | route | login | msg1 | msg2 | files | push | site,
			db | route | login | files | push | site, // our msg_servers alone
			db | route | login | msg1 | msg2,         // our servers around them
			db,
			msg1 | login | push,
			msg2 | route | files | site,
		}
	}
	for mask := range 1 << 5 {
		// The other three are originals in half of the choices each.
		if mask&db == 0 {
			mask |= files
		}
		if mask&route != 0 {
			mask |= push
		}
		if mask&login == 0 {
			mask |= site
		}
		masks = append(masks, mask)
	}
	return masks
}

// TestCombinations plays the scenario of the original's clients against two
// msg_servers, with choices of which servers are originals.
func TestCombinations(t *testing.T) {
	t.Parallel()
	for _, mask := range choices() {
		originals := []string{}
		for i, name := range roles {
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
	c = cluster.Start(t, cluster.Options{
		Bin: bin, File: 1, Push: 1, HTTP: 1, Originals: originals, Accounts: users,
	})
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
	pushes := "http://" + c.Health()["push_server_1"] + "/pushes"
	if !slices.Contains(originals, "push_server_1") {
		page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_ = json.NewEncoder(w).Encode(c.Phones.All()) // whoever asked may have gone
		}))
		defer page.Close()
		pushes = page.URL
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, filepath.Join(bin, "original"), "client", "--login", c.LoginURL(),
		"--servers", strings.Join(servers, ","), "--users", users,
		"--originals", strings.Join(originals, ","), "--site", "http://"+c.Addr("http_msg_server_1"),
		"--pushes", pushes).CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
