package httpserver

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"teamtalk/client"
	"teamtalk/internal/im"
	"teamtalk/internal/link/linktest"
	"teamtalk/internal/testenv"
	"teamtalk/push_server/pushserver"
	"teamtalk/test/phones"
)

// TestPush: who is away is notified of what back ends send, once.
func TestPush(t *testing.T) {
	t.Parallel()
	services := phones.Start(t)
	addr := testenv.FreeAddr(t)
	lines := []string{"ListenIP=127.0.0.1", "ListenPort=" + port(addr)}
	for key, value := range services.ByKey() {
		lines = append(lines, key+"="+value)
	}
	cfg, err := pushserver.ParseConfig(strings.NewReader(strings.Join(lines, "\n")), "test.conf")
	if err != nil {
		t.Fatal(err)
	}
	push, err := pushserver.New(cfg, pushserver.Deps{Log: quiet, Reg: prometheus.NewRegistry(), Clock: time.Now})
	run(t, push, err)
	w := newWorld(t, "PushServerIP1=127.0.0.1", "PushServerPort1="+port(addr))
	alice, bob := w.users["alice"], w.users["bob"]
	phone, err := client.Dial(t.Context(), client.Options{Addr: w.msg, User: "bob", Password: "12345", ClientType: im.IOS})
	if err != nil {
		t.Fatal(err)
	}
	if err := phone.SetDeviceToken(t.Context(), phones.IPhone("bob")); err != nil {
		t.Fatal(err)
	}
	send := func(key, text string) {
		t.Helper()
		body := fmt.Sprintf(`{"from_user_id":%d,"to_user_id":%d,"text":"%s"}`, alice, bob, text)
		if a := w.send("POST", "/api/v1/messages", body, "Idempotency-Key", key); a.status >= 300 {
			t.Fatalf("%d %s", a.status, a.raw)
		}
	}
	online := fmt.Sprintf("/api/v1/users/%d/presence", bob)
	linktest.Eventually(t, "presence", func() bool { return w.do(200, "GET", online, "")["online"] == true })
	send("one", "he has this already")
	linktest.Eventually(t, "the decision", func() bool {
		return testutil.CollectAndCount(w.reg, "im_push_decisions_total") == 1
	})
	phone.Close()
	linktest.Eventually(t, "going off-line", func() bool { return w.do(200, "GET", online, "")["online"] == false })
	send("two", "hello")
	send("two", "hello") // is not sent twice
	send("three", "and")
	for _, want := range []phones.Ring{
		{Line: "alice:hello", Badge: 2, Data: fmt.Sprintf(`{"msg_type":1,"from_id":%d}`, alice)},
		{Line: "alice:and", Badge: 3, Data: fmt.Sprintf(`{"msg_type":1,"from_id":%d}`, alice)},
	} {
		if got, err := services.Take(t.Context(), phones.IPhone("bob")); err != nil || got != want {
			t.Errorf("%+v, %v, want %+v", got, err, want)
		}
	}
	if left := services.Left(); len(left) > 0 {
		t.Errorf("more rang: %v", left)
	}
}
