//go:build unix

package cluster

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"

	"teamtalk/client"
	"teamtalk/internal/im"
	"teamtalk/internal/procs"
	"teamtalk/test/e2e/dialog"
)

// World lets scripts play on a cluster.
type World struct{ *Cluster }

// Addr returns the address of a msg_server by its number.
func (w World) Addr(server string) (string, error) { return w.MsgServer(server) }

// CreateUsers makes accounts for a script.
func (w World) CreateUsers(ctx context.Context, accounts []string) ([]im.UserID, error) {
	return w.Cluster.CreateUsers(ctx, accounts, dialog.Password)
}

// deeds are what a script can do behind a !.
var deeds = map[string]func(ctx context.Context, w World, args []string) error{
	// start, stop, kill, pause, resume ROLE NUMBER; redis and mariadb have no
	// number. stop is SIGTERM, and a role must exit with 0.
	"start": func(ctx context.Context, w World, args []string) error {
		return w.StartServer(ctx, strings.Join(args, "_"))
	},
	"stop": func(ctx context.Context, w World, args []string) error {
		return w.StopServer(ctx, strings.Join(args, "_"))
	},
	"kill": func(_ context.Context, w World, args []string) error { return w.KillServer(name(args)) },
	"restart": func(ctx context.Context, w World, args []string) error {
		return errors.Join(w.StopServer(ctx, name(args)), w.StartServer(ctx, name(args)))
	},
	"pause": func(_ context.Context, w World, args []string) error {
		s, err := w.server(name(args))
		if err != nil {
			return err
		}
		return s.Pause()
	},
	"resume": func(_ context.Context, w World, args []string) error {
		s, err := w.server(name(args))
		if err != nil {
			return err
		}
		return s.Resume()
	},

	// flushall empties Redis.
	"flushall": func(ctx context.Context, w World, _ []string) error { return FlushAll(ctx, w.Redis.Addr()) },

	// sql "STATEMENT"
	"sql": func(ctx context.Context, w World, args []string) error {
		_, err := w.DB.ExecContext(ctx, strings.Join(args, " "))
		return err
	},

	// stored COUNT USER USER, stored COUNT GROUP: rows in the table, with ids
	// from 1 without a gap.
	"stored": stored,

	// ready waits until every running role says so again.
	"ready": func(ctx context.Context, w World, _ []string) error { return w.AwaitReady(ctx) },

	// age SECONDS GROUP: everything in the group was said earlier.
	"age": func(ctx context.Context, w World, args []string) error {
		if len(args) != 2 {
			return errors.New("age SECONDS GROUP")
		}
		for shard := range im.Shards {
			_, err := w.DB.ExecContext(ctx, fmt.Sprintf(
				"UPDATE IMGroupMessage_%d SET created = created - ? WHERE groupId = ?", shard), args[0], args[1])
			if err != nil {
				return err
			}
		}
		return nil
	},

	// counts N "SELECT COUNT(*) ...": so many rows, soon.
	"counts": func(ctx context.Context, w World, args []string) error {
		ctx, cancel := context.WithTimeout(ctx, dialog.Patience)
		defer cancel()
		return until(ctx, func() error {
			got := ""
			if err := w.DB.QueryRowContext(ctx, args[1]).Scan(&got); err != nil || got != args[0] {
				return fmt.Errorf("want %s, got %s: %w", args[0], got, err)
			}
			return nil
		})
	},

	// metric ROLE NAME VALUE: a metric is soon so much, added up over the
	// servers of a role. A name may have one label: im_links{peer_role="db_proxy"}.
	"metric": func(ctx context.Context, w World, args []string) error {
		if len(args) != 3 {
			return errors.New("metric ROLE NAME VALUE")
		}
		ctx, cancel := context.WithTimeout(ctx, dialog.Patience)
		defer cancel()
		return until(ctx, func() error {
			got, err := w.metric(ctx, args[0], args[1])
			if have := strconv.FormatFloat(got, 'f', -1, 64); err == nil && have != args[2] {
				err = fmt.Errorf("%s is %s", args[1], have)
			}
			return err
		})
	},

	// See phones.go.
	"rings": rings, "quiet": quiet, "busy": busy, "gone": gone,

	// located SERVER...: login_server names these msg_servers, within the time
	// a start may take; "located nobody" when it has none.
	"located": located,
}

// Do does what stands behind a !: a deed; "teamtalk ARGS..." for the command
// line program, which must succeed and whose output is returned; or "new", see
// newPhone.
func (w World) Do(ctx context.Context, words []string) (string, error) {
	if words[0] == "teamtalk" {
		return w.Teamtalk(ctx, words[1:]...)
	}
	if words[0] == "new" {
		return newPhone(words[1:])
	}
	deed, ok := deeds[words[0]]
	if !ok {
		return "", fmt.Errorf("nobody knows how to %q", words[0])
	}
	if err := deed(ctx, w, words[1:]); err != nil {
		return "", fmt.Errorf("%s: %w", words[0], err)
	}
	return "", nil
}

// name puts a server's name together: msg_server 1 is msg_server_1.
func name(args []string) string { return strings.Join(args, "_") }

// located asks the login_server until it names one of the msg_servers given.
func located(ctx context.Context, w World, args []string) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	return until(ctx, func() error {
		loc, err := client.Locate(ctx, w.LoginURL())
		if none, ok := errors.AsType[*client.LocateError](err); ok && none.Code == 1 && args[0] == "nobody" {
			return nil
		}
		if err != nil {
			return err
		}
		for _, number := range args {
			if addr, err := w.MsgServer(number); err == nil && addr == loc.Addr {
				return nil
			}
		}
		return fmt.Errorf("login_server names %s", loc.Addr)
	})
}

// stored compares the rows of a conversation.
func stored(ctx context.Context, w World, args []string) error {
	numbers := make([]uint32, len(args))
	for i, a := range args {
		n, err := strconv.ParseUint(a, 10, 32)
		if err != nil {
			return err
		}
		numbers[i] = uint32(n)
	}
	var conv im.Conversation
	switch len(numbers) {
	case 2:
		conv = im.GroupOf(im.GroupID(numbers[1]))
	case 3:
		conv = im.SingleOf(im.UserID(numbers[1]), im.UserID(numbers[2]))
	default:
		return errors.New("stored COUNT USER USER, or stored COUNT GROUP")
	}
	rows, err := w.Stored(ctx, conv)
	if err != nil {
		return err
	}
	for i, r := range rows {
		if r.ID != im.MsgID(i+1) {
			return fmt.Errorf("%d rows, but id %d at place %d", len(rows), r.ID, i+1)
		}
	}
	if len(rows) != int(numbers[0]) {
		return fmt.Errorf("want %d rows, got %d", numbers[0], len(rows))
	}
	return nil
}

// AwaitReady waits until every role that runs is ready.
func (c *Cluster) AwaitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for _, name := range c.order {
		if p := c.servers[name].Process(); p == nil || !running(p) {
			continue
		}
		if err := until(ctx, func() error { return ready(c.health[name])(ctx) }); err != nil {
			return fmt.Errorf("%s is not ready: %w", name, err)
		}
	}
	return nil
}

// running reports whether a process has not ended.
func running(p *procs.Process) bool {
	select {
	case <-p.Exited():
		return false
	default:
		return true
	}
}

// until calls f until it returns nil or ctx ends.
func until(ctx context.Context, f func() error) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		err := f()
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		}
	}
}

// FlushAll empties the Redis at addr.
func FlushAll(ctx context.Context, addr string) error {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return err
	}
	if _, err := io.WriteString(conn, "FLUSHALL\r\n"); err != nil {
		return err
	}
	answer, err := bufio.NewReader(conn).ReadString('\n')
	if err == nil && answer != "+OK\r\n" {
		err = fmt.Errorf("answer of Redis: %q", answer)
	}
	return err
}
