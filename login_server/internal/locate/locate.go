// Package locate owns the HTTP port where clients ask for a msg_server: one
// request per connection, one URL, one small JSON answer, in the very form the
// original gives it. It does not know how a msg_server is chosen.
//
// Source: docs/protocol/flows.md §1.1.
package locate

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"teamtalk/internal/admit"
)

// Limits of one connection. Source: docs/protocol/flows.md §1.1;
// docs/protocol/wire.md §2.
const (
	maxRequest = 1024 // bytes
	timeout    = 60 * time.Second
	// lingerTime is how long the end of a client is waited for after the
	// answer: closing earlier, with bytes of it unread, would take the answer
	// away.
	lingerTime = 2 * time.Second
)

// Answer is what a client is told. A Code other than 0 comes with Msg only.
type Answer struct {
	Code      int
	Msg       string
	PriorIP   string
	BackupIP  string
	Port      uint16
	MSFS      string
	Discovery string
}

// Config of a Server. All are needed.
type Config struct {
	Addrs    []string // IP:port
	MaxConns int      // served at a time
	Answer   func() Answer
}

// Deps of a Server. All are needed.
type Deps struct {
	Log *slog.Logger
	Reg prometheus.Registerer
}

// Server serves the port.
type Server struct {
	// Static after Listen.
	cfg       Config
	log       *slog.Logger
	listeners []net.Listener
	places    chan struct{} // one element for each connection that is served
	refused   *prometheus.CounterVec

	mu    sync.Mutex // guards the field below
	conns map[net.Conn]struct{}
}

// Listen takes the ports. Connections wait until Run.
func Listen(cfg Config, deps Deps) (*Server, error) {
	s := &Server{
		cfg:    cfg,
		log:    deps.Log,
		places: make(chan struct{}, cfg.MaxConns),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "im_login_http_refused_total", Help: "HTTP connections closed without an answer, by reason.",
		}, []string{"reason"}),
		conns: map[net.Conn]struct{}{},
	}
	deps.Reg.MustRegister(s.refused)
	for _, addr := range cfg.Addrs {
		l, err := admit.Listen(context.Background(), addr, admit.Config{Name: "http"},
			admit.Deps{Log: deps.Log, Reg: deps.Reg})
		if err != nil {
			s.closeListeners()
			return nil, err
		}
		s.listeners = append(s.listeners, l)
	}
	return s, nil
}

// Run serves until ctx ends, then closes what has not asked within grace,
// or within two seconds.
func (s *Server) Run(ctx context.Context, grace time.Duration) {
	var accepting, serving sync.WaitGroup
	for _, l := range s.listeners {
		accepting.Go(func() { s.accept(l, &serving) })
	}
	<-ctx.Done()
	s.closeListeners()
	accepting.Wait()
	s.hurry(time.Now().Add(min(grace, lingerTime)))
	serving.Wait()
}

func (s *Server) closeListeners() {
	for _, l := range s.listeners {
		_ = l.Close()
	}
}

// accept runs until the listener is closed.
func (s *Server) accept(l net.Listener, serving *sync.WaitGroup) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		select {
		case s.places <- struct{}{}:
		default:
			s.refused.WithLabelValues("too_many_conns").Inc()
			_ = conn.Close()
			continue
		}
		s.mu.Lock()
		s.conns[conn] = struct{}{}
		s.mu.Unlock()
		_ = conn.SetDeadline(time.Now().Add(timeout))
		serving.Go(func() { s.serve(conn) })
	}
}

// hurry gives the connections that are open until deadline.
func (s *Server) hurry(deadline time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for conn := range s.conns {
		_ = conn.SetDeadline(deadline)
	}
}

func (s *Server) serve(conn net.Conn) {
	defer func() {
		_ = conn.Close()
		s.mu.Lock()
		delete(s.conns, conn)
		s.mu.Unlock()
		<-s.places
	}()
	if reason := readRequest(conn); reason != "" {
		s.refused.WithLabelValues(reason).Inc()
		return
	}
	if _, err := conn.Write(encode(s.cfg.Answer())); err != nil {
		return
	}
	linger(conn)
}

// readRequest reads the head of a request and returns why it gets no answer,
// or "". Any method will do.
func readRequest(conn io.Reader) (refusal string) {
	in := &io.LimitedReader{R: conn, N: maxRequest}
	request, err := http.ReadRequest(bufio.NewReaderSize(in, maxRequest))
	switch {
	case err == nil && strings.HasPrefix(request.URL.Path, "/msg_server"):
		return ""
	case err == nil:
		return "other_url"
	case in.N <= 0:
		return "too_long"
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		return "peer"
	}
	if netErr, ok := errors.AsType[net.Error](err); ok && netErr.Timeout() {
		return "timeout"
	}
	return "bad_request"
}

// linger shuts our side and waits for the client to shut his.
func linger(conn net.Conn) {
	half, ok := conn.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		return
	}
	_ = conn.SetReadDeadline(time.Now().Add(lingerTime))
	_, _ = io.CopyN(io.Discard, conn, 64<<10)
}

// encode writes the whole response. The headers and the layout of the JSON are
// the original's to the byte: keys in alphabetical order, the port as text.
func encode(a Answer) []byte {
	var body bytes.Buffer
	members := []struct {
		key   string
		value any
	}{
		{"backupIP", a.BackupIP},
		{"code", a.Code},
		{"discovery", a.Discovery},
		{"msfsBackup", a.MSFS},
		{"msfsPrior", a.MSFS},
		{"msg", a.Msg},
		{"port", strconv.Itoa(int(a.Port))},
		{"priorIP", a.PriorIP},
	}
	separator := "{\n"
	for _, m := range members {
		if a.Code != 0 && m.key != "code" && m.key != "msg" {
			continue
		}
		fmt.Fprintf(&body, "%s   %q : %s", separator, m.key, value(m.value))
		separator = ",\n"
	}
	body.WriteString("\n}\n")
	return fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nConnection:close\r\nContent-Length:%d\r\n"+
		"Content-Type:text/html;charset=utf-8\r\n\r\n%s", body.Len(), body.Bytes())
}

// value encodes a JSON value; unlike json.Marshal it leaves & < > alone, which
// occur in URLs.
func value(v any) []byte {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(v) // strings and numbers are always encodable
	return bytes.TrimSuffix(out.Bytes(), []byte("\n"))
}
