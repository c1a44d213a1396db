package proxy

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"
)

// echo answers every byte with itself.
func echo(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = io.Copy(c, c)
				_ = c.Close()
			}()
		}
	}()
	return l.Addr().String()
}

// through returns a proxy and a connection through it that works.
func through(t *testing.T) (*Proxy, net.Conn) {
	t.Helper()
	p, err := Listen(t.Context(), "127.0.0.1:0", echo(t), func(from, to net.Addr) string {
		return Owner(from, to, map[string]int{"init": 1, "me": os.Getpid()})
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	c, err := net.Dial("tcp", p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	ask(t, c, "hello")
	return p, c
}

// ask expects an echo.
func ask(t *testing.T, c net.Conn, text string) {
	t.Helper()
	if _, err := c.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(text))
	if _, err := io.ReadFull(c, got); err != nil || string(got) != text {
		t.Fatalf("%q %v", got, err)
	}
}

// quiet expects nothing for a moment.
func quiet(t *testing.T, c net.Conn) {
	t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if n, err := c.Read(make([]byte, 1)); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal(n, err)
	}
	if err := c.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
}

func TestPassesOn(t *testing.T) {
	t.Parallel()
	p, c := through(t)
	big := bytes.Repeat([]byte("0123456789"), 100_000)
	go func() { _, _ = c.Write(big) }()
	got := make([]byte, len(big))
	if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, big) {
		t.Fatal(err)
	}
	if moved := p.Moved(); moved != int64(2*(len(big)+5)) {
		t.Errorf("%d bytes", moved)
	}
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Read(got); !errors.Is(err, io.EOF) {
		t.Error(err)
	}
}

func TestCut(t *testing.T) {
	t.Parallel()
	p, c := through(t)
	if n := p.Cut("init", 0); n != 0 {
		t.Errorf("cut %d of somebody else's", n)
	}
	ask(t, c, "still there")
	if n := p.Cut("me", time.Hour); n != 1 {
		t.Errorf("cut %d", n)
	}
	if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error(err)
	}
	again, err := net.Dial("tcp", p.Addr())
	if err == nil {
		_, err = again.Read(make([]byte, 1))
		_ = again.Close()
	}
	if err == nil {
		t.Error("not refused")
	}
}

func TestWeather(t *testing.T) {
	t.Parallel()
	p, c := through(t)
	p.Set(Everybody, Weather{Delay: 60 * time.Millisecond})
	p.Set("init", Weather{Still: true})
	started := time.Now()
	ask(t, c, "slow")
	if took := time.Since(started); took < 120*time.Millisecond {
		t.Errorf("both ways took %v", took)
	}
	p.Set("me", Weather{Rate: 1000})
	started = time.Now()
	ask(t, c, string(bytes.Repeat([]byte("x"), 100)))
	if took := time.Since(started); took < 200*time.Millisecond {
		t.Errorf("100 bytes both ways at 1000 a second took %v", took)
	}
	p.Set("me", Weather{Still: true})
	if _, err := c.Write([]byte("later")); err != nil {
		t.Fatal(err)
	}
	quiet(t, c)
	p.Set("me", Weather{})
	p.Set(Everybody, Weather{})
	got := make([]byte, 5)
	if _, err := io.ReadFull(c, got); err != nil || string(got) != "later" {
		t.Fatalf("%q %v", got, err)
	}
}

func TestHalfOpen(t *testing.T) {
	t.Parallel()
	p, c := through(t)
	if n := p.HalfOpen("me", false); n != 1 {
		t.Errorf("%d", n)
	}
	for range 3 {
		if _, err := c.Write([]byte("is anybody there?")); err != nil {
			t.Fatal(err)
		}
		quiet(t, c)
	}
	p.Cut("me", 0)
	if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error(err)
	}

	p, c = through(t)
	p.HalfOpen(Everybody, true)
	if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error(err)
	}
}

// New connections go to another address, old ones stay where they are.
func TestRetarget(t *testing.T) {
	t.Parallel()
	p, old := through(t)
	other, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = other.Close() })
	if n := p.Retarget(other.Addr().String()); n != 1 {
		t.Errorf("%d stay", n)
	}
	ask(t, old, "still the first one")
	fresh, err := net.Dial("tcp", p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = fresh.Close() })
	came, err := other.Accept()
	if err != nil {
		t.Fatal(err)
	}
	_ = came.Close()
	ask(t, old, "yes")
}

// All connections together bring no more to the target than the limit.
func TestLimit(t *testing.T) {
	t.Parallel()
	p := &Proxy{}
	if p.turn(1<<20) != 0 {
		t.Error("there is no limit")
	}
	p.Limit(1000)
	for i := range 5 {
		if wait := p.turn(100); wait < time.Duration(i)*100*time.Millisecond || wait > time.Duration(i+1)*100*time.Millisecond {
			t.Errorf("100 bytes of %d wait for %v", (i+1)*100, wait)
		}
	}
}
