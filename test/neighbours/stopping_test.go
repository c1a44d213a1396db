//go:build unix

package neighbours

import (
	"context"
	"sync"
	"testing"
	"time"

	"teamtalk/client"
	"teamtalk/internal/im"
	"teamtalk/test/e2e/cluster"
)

// An original db_proxy that stops says so with 0702 and ends four seconds
// later; it refuses whoever asks it anything meanwhile. Our msg_server asks
// nothing, and serves again when the db_proxy is back.
func TestOriginalDBProxyStops(t *testing.T) {
	t.Parallel()
	const db = "db_proxy_1"
	c := cluster.Start(t, cluster.Options{
		Bin: bin, Msg: 1, Originals: []string{db}, Accounts: accounts([]uint32{1, 2, 3}),
	})
	addr, err := c.MsgServer("1")
	if err != nil {
		t.Fatal(err)
	}
	conn, err := client.Dial(t.Context(), client.Options{Addr: addr, User: "alice", Password: "12345"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if id, err := conn.SendText(t.Context(), im.Single, 2, "before"); err != nil || id != 1 {
		t.Fatalf("message %d, %v", id, err)
	}
	talking, stop := context.WithCancel(t.Context())
	var sender sync.WaitGroup
	sender.Go(func() {
		for talking.Err() == nil {
			once, cancel := context.WithTimeout(talking, 200*time.Millisecond)
			_, _ = conn.SendText(once, im.Single, 2, "meanwhile") // fails once the db_proxy is gone
			cancel()
		}
	})
	err = c.StopServer(t.Context(), db) // it ends with 0 if it was left in peace
	stop()
	sender.Wait()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.StartServer(t.Context(), db); err != nil {
		t.Fatal(err)
	}
	if err := (cluster.World{Cluster: c}).AwaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	again, err := client.Dial(t.Context(), client.Options{Addr: addr, User: "bob", Password: "12345"})
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if id, err := again.SendText(t.Context(), im.Single, 3, "after"); err != nil || id != 1 {
		t.Fatalf("message %d, %v", id, err)
	}
}
