package admit

import (
	"bytes"
	"errors"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// failing is a listener whose first accepts fail.
type failing struct {
	net.Listener
	errs []error
}

func (f *failing) Accept() (net.Conn, error) {
	if len(f.errs) > 0 {
		err := f.errs[0]
		f.errs = f.errs[1:]
		return nil, &net.OpError{Op: "accept", Net: "tcp", Err: os.NewSyscallError("accept4", err)}
	}
	return f.Listener.Accept()
}

// open returns a listener on loopback whose first accepts fail.
func open(t *testing.T, cfg Config, errs ...error) (*Listener, *prometheus.Registry, *bytes.Buffer) {
	t.Helper()
	log, reg := new(bytes.Buffer), prometheus.NewRegistry()
	cfg.Name = "test"
	cfg.Wrap = func(l net.Listener) net.Listener { return &failing{l, errs} }
	l, err := Listen(t.Context(), "127.0.0.1:0", cfg, Deps{Log: slog.New(slog.NewTextHandler(log, nil)), Reg: reg})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l, reg, log
}

func dial(t *testing.T, l *Listener) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func accept(t *testing.T, l *Listener) net.Conn {
	t.Helper()
	c, err := l.Accept()
	if err != nil {
		t.Fatalf("Accept = %v", err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// wantRefused wants the other side to close the connection.
func wantRefused(t *testing.T, c net.Conn) {
	t.Helper()
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	if n, err := c.Read(make([]byte, 1)); n != 0 || err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("Read = %d, %v; want the end", n, err)
	}
}

// Whatever accept fails with, the listener goes on, and says it once.
func TestErrorsOfAccept(t *testing.T) {
	t.Parallel()
	for err, reason := range map[error]string{
		syscall.EMFILE: "process_descriptors", syscall.ENFILE: "system_descriptors",
		syscall.ENOBUFS: "memory", syscall.ENOMEM: "memory",
		syscall.ECONNABORTED: "aborted", syscall.EPROTO: "aborted",
		syscall.EPERM: "other", errors.New("never seen"): "other",
	} {
		t.Run(err.Error(), func(t *testing.T) {
			t.Parallel()
			l, reg, log := open(t, Config{}, err, err, err)
			dial(t, l)
			accept(t, l)
			want := "# HELP im_accept_errors_total Connections that could not be accepted, by reason.\n" +
				"# TYPE im_accept_errors_total counter\n" +
				`im_accept_errors_total{listener="test",reason="` + reason + `"} 3` + "\n"
			if err := testutil.GatherAndCompare(reg, strings.NewReader(want), "im_accept_errors_total"); err != nil {
				t.Error(err)
			}
			if n := strings.Count(log.String(), "listener pauses"); n != 1 {
				t.Errorf("it says %d times that it pauses", n)
			}
			if n := strings.Count(log.String(), "listener goes on"); n != 1 {
				t.Errorf("it says %d times that it goes on", n)
			}
		})
	}
}

// A listener that pauses does not run around, and can be closed.
func TestPause(t *testing.T) {
	t.Parallel()
	errs := make([]error, 100_000)
	for i := range errs {
		errs[i] = syscall.ENFILE
	}
	l, reg, _ := open(t, Config{}, errs...)
	ended := make(chan error, 1)
	go func() {
		_, err := l.Accept()
		ended <- err
	}()
	for n := 0; n == 0; {
		n = testutil.CollectAndCount(l.errors)
	}
	l.Close()
	l.Close()
	if err := <-ended; !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept = %v after Close", err)
	}
	if n := testutil.ToFloat64(l.errors.WithLabelValues("test", "system_descriptors")); n > 50 {
		t.Errorf("%v tries in no time", n)
	}
	_ = reg
}

func TestBudget(t *testing.T) {
	t.Parallel()
	type step struct {
		class Class
		fd    int
		n     int // how many times
		want  int // how many are taken
	}
	for name, steps := range map[string][]step{
		"public":               {{Public, 10, 100, 80}, {Link, 10, 100, 10}, {Operator, 99, 100, 100}},
		"links first":          {{Link, 10, 100, 90}, {Public, 10, 100, 0}},
		"some links":           {{Link, 10, 30, 30}, {Public, 10, 100, 60}, {Link, 10, 100, 0}},
		"others use them":      {{Public, 89, 1, 1}, {Public, 90, 1, 0}, {Link, 94, 1, 1}, {Link, 95, 1, 0}, {Operator, 99, 1, 1}},
		"without a descriptor": {{Public, -1, 1, 1}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := NewBudget(100)
			var held []Class
			for i, s := range steps {
				taken := 0
				for range s.n {
					if b.take(s.class, s.fd) {
						taken++
						held = append(held, s.class)
					}
				}
				if taken != s.want {
					t.Errorf("step %d: %d taken, want %d", i, taken, s.want)
				}
			}
			for _, class := range held {
				b.leave(class)
			}
			if b.public != 0 || b.links != 0 {
				t.Errorf("%d public connections and %d links are left of none", b.public, b.links)
			}
		})
	}
}

// What is over the budget is closed at once; a place that is given back is
// taken again, once.
func TestBudgetOfListeners(t *testing.T) {
	t.Parallel()
	budget := NewBudget(5) // four public connections
	// The numbers of descriptors are those of the test.
	l, reg, _ := open(t, Config{Budget: budget})
	l.inner = numberless{l.inner}
	var accepted []net.Conn
	for range 4 {
		dial(t, l)
		accepted = append(accepted, accept(t, l))
	}
	over := dial(t, l)
	next := make(chan net.Conn)
	go func() {
		c, _ := l.Accept()
		next <- c
	}()
	wantRefused(t, over)
	accepted[0].Close()
	accepted[0].Close()
	dial(t, l)
	accepted = append(accepted, <-next)
	if n := testutil.ToFloat64(l.refused.WithLabelValues("test", TooManyConns)); n != 1 {
		t.Errorf("%v refused", n)
	}
	for _, c := range accepted {
		c.Close()
	}
	if budget.public != 0 {
		t.Errorf("%d places are taken by nobody", budget.public)
	}
	_ = reg
}

// numberless hides the descriptors of connections.
type numberless struct{ net.Listener }

func (n numberless) Accept() (net.Conn, error) {
	c, err := n.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return struct{ net.Conn }{c}, nil
}

// Without room connections wait, and nothing is refused.
func TestRoom(t *testing.T) {
	t.Parallel()
	l, _, _ := open(t, Config{Room: make(chan struct{}, 1)})
	dial(t, l)
	first := accept(t, l)
	dial(t, l)
	second := make(chan net.Conn)
	go func() {
		c, _ := l.Accept()
		second <- c
	}()
	first.Close()
	(<-second).Close()
	if n := testutil.CollectAndCount(l.refused); n != 0 {
		t.Errorf("%d refused", n)
	}
	// Close ends an Accept that waits for room.
	dial(t, l)
	defer accept(t, l).Close()
	var wait sync.WaitGroup
	wait.Go(func() {
		if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Accept = %v after Close", err)
		}
	})
	l.Close()
	wait.Wait()
}

// Two listeners of a role have one counter.
func TestSharedMetrics(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	reg := prometheus.WrapRegistererWith(prometheus.Labels{"role": "r"}, registry)
	a, b := counter(reg, "im_x", "X."), counter(reg, "im_x", "X.")
	a.WithLabelValues("a", "r").Inc()
	b.WithLabelValues("b", "r").Inc()
	if n := testutil.CollectAndCount(a); a != b || n != 2 {
		t.Errorf("the counters are two, of %d series", n)
	}
}
