//go:build unix

package e2e

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"teamtalk/client"
	"teamtalk/client/textcrypt"
	"teamtalk/internal/im"
	"teamtalk/internal/testenv"
	"teamtalk/test/e2e/cluster"
	"teamtalk/test/e2e/dialog"
)

// Sizes of the load during a crash.
const (
	crashPairs   = 4   // one member of each on either server
	crashWindow  = 4   // messages under way per user
	crashEnough  = 300 // acknowledgements before, and again after
	crashTimeout = time.Minute
)

// promises are the acknowledgements that clients got.
type promises struct {
	mu    sync.Mutex
	acked map[im.Conversation]map[im.MsgID]string // text
	count int
	twice []string // ids given to two messages
}

func (p *promises) add(conv im.Conversation, id im.MsgID, text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.acked[conv] == nil {
		p.acked[conv] = make(map[im.MsgID]string)
	}
	if other, ok := p.acked[conv][id]; ok {
		p.twice = append(p.twice, fmt.Sprintf("%v %d: %s and %s", conv, id, other, text))
	}
	p.acked[conv][id] = text
	p.count++
}

func (p *promises) total() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.count
}

// TestCrashUnderLoad kills MariaDB, then db_proxy, with messages under way:
// every acknowledged one has its row, and chat goes on by itself.
func TestCrashUnderLoad(t *testing.T) {
	t.Parallel()
	for _, victim := range []string{"mariadb", "db_proxy_1"} {
		t.Run(victim, func(t *testing.T) {
			t.Parallel()
			c := cluster.Start(t, cluster.Options{Bin: bin, OwnMariaDB: victim == "mariadb"})
			p := &promises{acked: make(map[im.Conversation]map[im.MsgID]string)}
			stop := load(t, c, p)
			testenv.Eventually(t, crashTimeout, func() bool { return p.total() >= crashEnough }, "no load")
			if err := c.KillServer(victim); err != nil {
				t.Fatal(err)
			}
			before := p.total()
			if err := c.StartServer(t.Context(), victim); err != nil {
				t.Fatal(err)
			}
			testenv.Eventually(t, crashTimeout, func() bool { return p.total() >= before+crashEnough }, "chat does not go on")
			stop()
			p.check(t, c)
		})
	}
}

// load lets pairs chat until the returned function is called, which waits for
// what is under way.
func load(t *testing.T, c *cluster.Cluster, p *promises) func() {
	t.Helper()
	names := make([]string, 2*crashPairs)
	for i := range names {
		names[i] = fmt.Sprintf("crash%d", i)
	}
	ids, err := c.CreateUsers(t.Context(), names, dialog.Password)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var senders sync.WaitGroup
	for i, name := range names {
		addr, err := c.MsgServer(strconv.Itoa(i%2 + 1))
		if err != nil {
			t.Fatal(err)
		}
		conn, err := client.Dial(ctx, client.Options{Addr: addr, User: name, Password: dialog.Password})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(conn.Close)
		peer := ids[i^1]
		for w := range crashWindow {
			senders.Go(func() { chatter(ctx, conn, peer, fmt.Sprintf("%s/%d", name, w), p) })
		}
	}
	return func() {
		cancel()
		senders.Wait()
	}
}

// chatter sends one message after the other; what is not acknowledged in time
// is given up.
func chatter(ctx context.Context, conn *client.Client, peer im.UserID, name string, p *promises) {
	for n := 0; ctx.Err() == nil; n++ {
		text := fmt.Sprintf("%s/%d", name, n)
		once, cancel := context.WithTimeout(ctx, 2*time.Second)
		id, err := conn.SendText(once, im.Single, uint32(peer), text)
		cancel()
		if err == nil {
			p.add(im.SingleOf(conn.User(), peer), id, text)
		}
	}
}

// check compares what was promised with what is stored.
func (p *promises) check(t *testing.T, c *cluster.Cluster) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, twice := range p.twice {
		t.Error("one id for two messages:", twice)
	}
	for conv, acked := range p.acked {
		rows, err := c.Stored(t.Context(), conv)
		if err != nil {
			t.Fatal(err)
		}
		stored, texts := make(map[im.MsgID]string), make(map[string]im.MsgID)
		for _, r := range rows {
			text, err := textcrypt.Standard().Decrypt([]byte(r.Data))
			if err != nil {
				t.Errorf("%v %d: %v", conv, r.ID, err)
			}
			if other, ok := texts[text]; ok {
				t.Errorf("%v: %s is stored as %d and %d", conv, text, other, r.ID)
			}
			stored[r.ID], texts[text] = text, r.ID
		}
		for id, text := range acked {
			if stored[id] != text {
				t.Errorf("%v %d: acknowledged %q, stored %q", conv, id, text, stored[id])
			}
		}
	}
}
