//go:build unix

package e2e

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"teamtalk/client"
	"teamtalk/internal/im"
	"teamtalk/internal/testenv"
	"teamtalk/test/e2e/cluster"
	"teamtalk/test/e2e/dialog"
)

// Sizes of the load during a stop.
const (
	stopUsers  = 8
	stopEnough = 200             // messages answered before and after each stop
	stopWait   = 5 * time.Second // the longest that any client may wait
	patience   = 20 * time.Second
)

// waits is how long clients waited for the end of what they began: an answer,
// or the end of the connection.
type waits struct {
	mu      sync.Mutex
	acked   int
	longest time.Duration
	what    string // that waited longest
}

// note takes the end of a request.
func (w *waits) note(what string, began time.Time, acked bool) {
	took := time.Since(began)
	w.mu.Lock()
	defer w.mu.Unlock()
	if acked {
		w.acked++
	}
	if took > w.longest {
		w.longest, w.what = took, what
	}
}

func (w *waits) total() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.acked
}

// TestStopUnderLoad ends one of every role with SIGTERM while clients send,
// ask and log in: each of them has an answer, or a closed connection, before
// its own time is over, and can go on elsewhere.
func TestStopUnderLoad(t *testing.T) {
	t.Parallel()
	c := cluster.Start(t, cluster.Options{Bin: bin, Msg: 2, DB: 2, Route: 2})
	names := make([]string, stopUsers)
	for i := range names {
		names[i] = fmt.Sprintf("stop%d", i)
	}
	ids, err := c.CreateUsers(t.Context(), names, dialog.Password)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var users sync.WaitGroup
	defer users.Wait()
	defer cancel()
	w := &waits{}
	for i, name := range names {
		users.Go(func() { w.chat(ctx, c.LoginURL(), name, ids[(i+1)%len(ids)]) })
	}
	enough := func() {
		t.Helper()
		before := w.total()
		testenv.Eventually(t, time.Minute, func() bool { return w.total() >= before+stopEnough }, "chat does not go on")
	}
	for _, victim := range []string{"msg_server_1", "db_proxy_1", "route_server_1", "login_server_1"} {
		enough()
		if err := c.StopServer(t.Context(), victim); err != nil {
			t.Error(err)
		}
		if victim != "login_server_1" { // without it nobody finds a server, but who has one keeps it
			enough()
		}
		if err := c.StartServer(t.Context(), victim); err != nil {
			t.Fatal(err)
		}
		enough()
		w.mu.Lock()
		t.Logf("%s: %d acknowledged, nobody waited longer than %v (%s)", victim, w.acked, w.longest, w.what)
		if w.longest > stopWait {
			t.Errorf("%s: somebody waited %v (%s)", victim, w.longest, w.what)
		}
		w.longest = 0
		w.mu.Unlock()
	}
}

// chat lets a user log in, send, ask what is unread, and begin again whenever
// the connection ends. His patience is far longer than what is allowed.
func (w *waits) chat(ctx context.Context, loginURL, name string, peer im.UserID) {
	for ctx.Err() == nil {
		began := time.Now()
		dialing, cancel := context.WithTimeout(ctx, patience)
		conn, err := client.Dial(dialing, client.Options{
			LoginURL: loginURL, User: name, Password: dialog.Password,
			Capabilities: []string{client.CapClientMsgID, client.CapNack},
		})
		cancel()
		if ctx.Err() == nil {
			w.note(fmt.Sprint("log-in: ", err), began, false)
		}
		if err != nil {
			pause(ctx)
			continue
		}
		for n := 0; ctx.Err() == nil && conn.Err() == nil; n++ {
			began := time.Now()
			patient, cancel := context.WithTimeout(ctx, patience)
			_, err := conn.SendTextID(patient, im.Single, uint32(peer), fmt.Sprintf("%s/%d", name, n), client.NewClientMsgID())
			if ctx.Err() == nil {
				w.note(fmt.Sprint("message: ", err), began, err == nil)
			}
			if n%5 == 0 {
				began := time.Now()
				_, _, err := conn.Unread(patient)
				if ctx.Err() == nil {
					w.note(fmt.Sprint("unread: ", err), began, false)
				}
			}
			cancel()
		}
		conn.Close()
	}
}

// pause lets a moment pass before somebody tries again.
func pause(ctx context.Context) {
	timer := time.NewTimer(100 * time.Millisecond)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
