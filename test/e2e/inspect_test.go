//go:build unix

package e2e

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"teamtalk/client"
	"teamtalk/internal/im"
	"teamtalk/internal/testenv"
	"teamtalk/test/e2e/cluster"
	"teamtalk/test/e2e/dialog"
)

// unreadDB is the number of the Redis database with the unread counts.
const unreadDB = 1

// TestFlushUnderLoad empties Redis in the middle of a bench: its read-back
// finds everything, and recount finds nothing; a planted drift it finds, and
// repairs.
func TestFlushUnderLoad(t *testing.T) {
	t.Parallel()
	c := cluster.Start(t, cluster.Options{Bin: bin})
	ctx := t.Context()
	if _, err := c.Teamtalk(ctx, "user", "add", "--prefix", "f", "--count", "8", "--password", "x"); err != nil {
		t.Fatal(err)
	}
	bench := exec.CommandContext(ctx, filepath.Join(bin, "teamtalk"), "bench", "single", "--login", c.LoginURL(),
		"--prefix", "f", "--count", "8", "--password", "x", "--window", "4", "--warm-up", "0s", "--duration", "4s", "--quiet")
	var out strings.Builder
	bench.Stdout, bench.Stderr = &out, &out
	if err := bench.Start(); err != nil {
		t.Fatal(err)
	}
	stored := func() (n int) {
		for shard := range im.Shards {
			var some int
			row := c.DB.QueryRowContext(ctx, fmt.Sprintf("SELECT COUNT(*) FROM IMMessage_%d", shard))
			if err := row.Scan(&some); err != nil {
				t.Fatal(err)
			}
			n += some
		}
		return n
	}
	for range 3 {
		before := stored()
		testenv.Eventually(t, dialog.Patience, func() bool { return stored() > before+20 }, "no load")
		if err := cluster.FlushAll(ctx, c.Redis.Addr()); err != nil {
			t.Fatal(err)
		}
	}
	if err := bench.Wait(); err != nil {
		t.Errorf("bench: %v\n%s", err, out.String())
	}
	recount := func(want string, args ...string) {
		t.Helper()
		got, err := c.Teamtalk(ctx, append([]string{"recount"}, args...)...)
		if !strings.Contains(got, want) || (err != nil) != strings.HasSuffix(want, "differ\n") {
			t.Errorf("recount %s: %v, %q, want %q", strings.Join(args, " "), err, got, want)
		}
	}
	recount("all right\n", "--check")

	raw := redis.NewClient(&redis.Options{Addr: c.Redis.Addr(), DB: unreadDB})
	defer raw.Close()
	if err := raw.HSet(ctx, "unread_1", "2", 4711).Err(); err != nil {
		t.Fatal(err)
	}
	recount("1 differ\n", "--check")
	recount("1 differed, 1 repaired\n", "--repair")
	recount("all right\n", "--check")
}

// TestTrace follows a message over two msg_servers, and on "teamtalk serve".
func TestTrace(t *testing.T) {
	t.Parallel()
	t.Run("cluster", func(t *testing.T) {
		t.Parallel()
		c := cluster.Start(t, cluster.Options{Bin: bin})
		if _, err := c.CreateUsers(t.Context(), []string{"ann", "ben"}, dialog.Password); err != nil {
			t.Fatal(err)
		}
		addr := func(n int) string {
			a, err := c.MsgServer(strconv.Itoa(n))
			if err != nil {
				t.Fatal(err)
			}
			return a
		}
		say(t, addr(1), addr(2), "ann", "ben", nil)
		args := []string{"trace", "single:ann-ben:1", "--json"}
		for name, health := range c.Health() {
			args = append(args, "--role", name+"="+health)
		}
		wantTrace(t, func() (string, error) { return c.Teamtalk(t.Context(), args...) },
			"acknowledged arrived committed confirmed delivered read received relayed relayed")
	})
	t.Run("embedded", func(t *testing.T) {
		t.Parallel()
		e := serve(t)
		if _, err := e.teamtalk(t.Context(), "user", "add", "ann", "--password", dialog.Password); err != nil {
			t.Fatal(err)
		}
		if _, err := e.teamtalk(t.Context(), "user", "add", "ben", "--password", dialog.Password); err != nil {
			t.Fatal(err)
		}
		addr := fmt.Sprintf("127.0.0.1:%d", e.base)
		say(t, addr, addr, "ann", "ben", []string{client.CapDelivered})
		wantTrace(t, func() (string, error) { return e.teamtalk(t.Context(), "trace", "single:ann-ben:1", "--json") },
			"acknowledged committed confirmed delivered read received relayed relayed")
		if out, err := e.teamtalk(t.Context(), "recount", "--check"); err != nil || !strings.Contains(out, "all right") {
			t.Errorf("recount: %q, %v", out, err)
		}
	})
}

// say sends one message, which its receiver acknowledges, in one way or the
// other, and reads.
func say(t *testing.T, from, to, sender, receiver string, capabilities []string) {
	t.Helper()
	got := make(chan struct{}, 1)
	b, err := client.Dial(t.Context(), client.Options{
		Addr: to, User: receiver, Password: dialog.Password, Capabilities: capabilities,
		Handler: func(_ *client.Client, e client.Event) {
			if _, ok := e.(*client.Message); ok {
				got <- struct{}{}
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	a, err := client.Dial(t.Context(), client.Options{Addr: from, User: sender, Password: dialog.Password})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.Close)
	if _, err := a.SendText(t.Context(), im.Single, uint32(b.User()), "hello"); err != nil {
		t.Fatal(err)
	}
	select {
	case <-got:
	case <-time.After(dialog.Patience):
		t.Fatal("nothing came")
	}
	if err := b.ReadAck(im.Single, uint32(a.User()), 1); err != nil {
		t.Fatal(err)
	}
}

// wantTrace asks until the events of a trace are the wanted ones.
func wantTrace(t *testing.T, ask func() (string, error), want string) {
	t.Helper()
	got := ""
	defer func() {
		if t.Failed() {
			t.Logf("the last answer: %s", got)
		}
	}()
	testenv.Eventually(t, dialog.Patience, func() bool {
		out, err := ask()
		if got = out; err != nil {
			got = err.Error()
			return false
		}
		var line struct {
			Events []struct {
				Event string `json:"event"`
			} `json:"events"`
			Stages []struct {
				State string `json:"state"`
			} `json:"stages"`
			People []struct {
				Delivered, Confirmed, Read string
			} `json:"people"`
		}
		if err := json.Unmarshal([]byte(out), &line); err != nil {
			t.Fatal(err)
		}
		var events []string
		for _, e := range line.Events {
			events = append(events, e.Event)
		}
		slices.Sort(events) // servers do not wait for each other
		for _, s := range line.Stages {
			if s.State != "yes" {
				return false
			}
		}
		return strings.Join(events, " ") == want && len(line.People) == 1 &&
			line.People[0].Delivered == "yes" && line.People[0].Confirmed == "yes" && line.People[0].Read == "yes"
	}, "want "+want)
}
