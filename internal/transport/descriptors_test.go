package transport

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"teamtalk/internal/obs"
	"teamtalk/internal/testenv"
	"teamtalk/internal/wire"
)

// poor is a listener that another program has left no descriptors.
type poor struct {
	net.Listener
	poor  *atomic.Bool
	tries *atomic.Int64
}

func (p poor) Accept() (net.Conn, error) {
	if p.poor.Load() {
		p.tries.Add(1)
		return nil, os.NewSyscallError("accept4", syscall.ENFILE)
	}
	return p.Listener.Accept()
}

// Without descriptors in the whole system nobody is accepted; who is connected
// goes on, and so does the engine when there are some again.
func TestSystemWithoutDescriptors(t *testing.T) {
	t.Parallel()
	var none atomic.Bool
	var tries atomic.Int64
	r := newRecorder()
	r.onPDU = func(c *Conn, pdu wire.PDU) { c.SendPDU(pdu.Command, pdu.Seq, pdu.Body) }
	s := start(t, r, Limits{}, func(c *Config) {
		c.wrap = func(l net.Listener) net.Listener { return poor{l, &none, &tries} }
		second := c.Listeners[0]
		second.Name, second.Addr = "second", testenv.FreeAddr(t)
		c.Listeners = append(c.Listeners, second)
	})
	before := s.dial(t)
	waitFor(t, r.opened, "OnOpen")
	none.Store(true)
	var late []net.Conn
	for _, l := range s.listeners {
		// The first is taken by the accept that was waiting already.
		for range 2 {
			c, err := net.Dial("tcp", l.Addr)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			late = append(late, c)
		}
		waitFor(t, r.opened, "OnOpen")
	}
	testenv.Eventually(t, time.Minute, func() bool { return tries.Load() >= 6 }, "it tries again")
	if !echoes(before) {
		t.Error("an open connection is not served")
	}
	if s.metric(t, "im_accept_errors_total", "second", "system_descriptors") == 0 {
		t.Error("it is not counted")
	}
	none.Store(false)
	for _, c := range late {
		if !echoes(c) {
			t.Error("a connection that waited is not served")
		}
	}
}

// echoes reports whether a heartbeat comes back within a minute.
func echoes(c net.Conn) bool {
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	frame := wire.AppendHeartbeat(nil, 0)
	if _, err := c.Write(frame); err != nil {
		return false
	}
	_, err := io.ReadFull(c, frame)
	return err == nil
}

// fewDescriptors makes the test program a server with that many descriptors.
const fewDescriptors = "TRANSPORT_TEST_DESCRIPTORS"

const descriptors = 200

// serveWithFewDescriptors runs two engines of one process, with clients at two
// ports and servers at a third, and a health port, until standard input ends.
func serveWithFewDescriptors() int {
	limit := syscall.Rlimit{Cur: descriptors, Max: descriptors}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var running sync.WaitGroup
	failed := make(chan error, 3)
	o, err := obs.New(ctx, obs.Config{Role: "test", Addr: "127.0.0.1:0", Log: os.Stderr, Clock: time.Now})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	o.Handle("GET /file", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		f, err := os.Open(os.Args[0]) // as a database does
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		_ = f.Close()
	}))
	running.Go(func() { failed <- o.Run(ctx) })
	addrs := strings.Fields(os.Getenv(fewDescriptors))
	for _, listeners := range [][]Listener{
		{{Name: "client", Addr: addrs[0]}, {
			Name: "link", Addr: addrs[1], Allow: func(netip.Addr) bool { return true },
		}},
		{{Name: "client", Addr: addrs[2]}},
	} {
		for i := range listeners {
			listeners[i].Handler = echoing{}
		}
		e, err := New(Config{Listeners: listeners, Loops: 1}, Deps{
			Log: slog.New(slog.NewTextHandler(os.Stderr, nil)), Reg: prometheus.NewRegistry(),
		})
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		running.Go(func() { failed <- e.Run(ctx) })
		<-e.Booted()
	}
	fmt.Println(o.Addr())
	ended := make(chan error, 1)
	go func() {
		_, err := io.Copy(io.Discard, os.Stdin)
		ended <- err
	}()
	select {
	case err = <-failed:
		fmt.Fprintln(os.Stderr, "ended by itself:", err)
		return 1
	case err = <-ended:
	}
	cancel()
	running.Wait()
	close(failed)
	for end := range failed {
		err = errors.Join(err, end)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// echoing sends back what comes in.
type echoing struct{}

func (echoing) OnOpen(*Conn)                {}
func (echoing) OnPDU(c *Conn, pdu wire.PDU) { c.SendPDU(pdu.Command, pdu.Seq, pdu.Body) }
func (echoing) OnTick(*Conn, time.Time)     {}
func (echoing) OnClose(*Conn, CloseReason)  {}

// Strangers that fill all ports for clients of a process take nothing from
// those who are connected, from servers, from operators and from files.
func TestProcessWithFewDescriptors(t *testing.T) {
	t.Parallel()
	addrs := []string{testenv.FreeAddr(t), testenv.FreeAddr(t), testenv.FreeAddr(t)}
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), fewDescriptors+"="+strings.Join(addrs, " "))
	var log testenv.Output
	child.Stderr = &log
	stdin, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		stdin.Close()
		if err := child.Wait(); err != nil {
			t.Errorf("the server ended with %v:\n%s", err, log.String())
		}
	}()
	health, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatalf("%v:\n%s", err, log.String())
	}
	health = "http://" + strings.TrimSpace(health)
	dial := func(addr string) net.Conn {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	var known []net.Conn
	for _, addr := range addrs {
		c := dial(addr)
		if !echoes(c) {
			t.Fatalf("%s does not serve", addr)
		}
		known = append(known, c)
	}
	var strangers []net.Conn
	served := 0
	for i := range 2 * descriptors {
		c := dial(addrs[i%2*2])
		strangers = append(strangers, c)
		if echoes(c) {
			served++
		}
	}
	if served+2 > descriptors*8/10 || served < descriptors/2 {
		t.Errorf("%d strangers are served of %d descriptors", served, descriptors)
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: time.Minute}
	for _, path := range []string{"/healthz", "/metrics", "/file"} {
		res, err := client.Get(health + path)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != http.StatusOK {
			t.Errorf("%s answers %s", path, res.Status)
		}
	}
	for _, c := range append(known, dial(addrs[1]), dial(addrs[1])) {
		if !echoes(c) {
			t.Errorf("%v is not served beside the strangers", c.RemoteAddr())
		}
	}
	for _, c := range strangers {
		c.Close()
	}
	testenv.Eventually(t, time.Minute, func() bool { return echoes(dial(addrs[0])) }, "it sees that they are gone")
}
