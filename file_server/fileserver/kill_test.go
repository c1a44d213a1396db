package fileserver

import (
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"teamtalk/internal/im"
	"teamtalk/internal/link"
	"teamtalk/internal/link/linktest"
	"teamtalk/internal/share"
)

// runAs names the configuration of a file_server that this binary is to be,
// so that a test can kill it.
const runAs = "FILE_SERVER_OF_A_TEST"

func TestMain(m *testing.M) {
	path := os.Getenv(runAs)
	if path == "" {
		os.Exit(m.Run())
	}
	cfg, err := LoadConfig(path)
	if err == nil {
		err = mountDisk(cfg.DataDir)
	}
	if err == nil {
		var s *Server
		deps := Deps{Log: slog.New(slog.DiscardHandler), Reg: prometheus.NewRegistry(), Clock: time.Now}
		if s, err = New(context.Background(), cfg, deps); err == nil {
			err = s.Run(context.Background())
		}
	}
	fmt.Fprintln(os.Stderr, "file_server of a test:", err)
	os.Exit(1)
}

// victim is a file_server in a process of its own. Of its Server, only the
// configuration and the name are here.
type victim struct {
	*world
	conf       string
	env        []string
	attributes *syscall.SysProcAttr
	process    *exec.Cmd
}

func newVictim(t *testing.T, store string) *victim {
	t.Helper()
	v := aside(t, store)
	v.start()
	return v
}

// aside is a victim that does not run yet.
func aside(t *testing.T, store string) *victim {
	t.Helper()
	w := configured(t, store, "FileTokenSecret="+tokenSecret)
	v := &victim{world: w, conf: filepath.Join(t.TempDir(), ConfigFile)}
	if err := os.WriteFile(v.conf, []byte(w.text), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := ParseConfig(strings.NewReader(w.text), ConfigFile)
	if err != nil {
		t.Fatal(err)
	}
	w.Server, w.answered = &Server{cfg: cfg}, map[string]bool{}
	return v
}

func (v *victim) start() {
	v.t.Helper()
	v.process = exec.Command(os.Args[0])
	v.process.Env = append(append(os.Environ(), v.env...), runAs+"="+v.conf)
	v.process.Stderr = os.Stderr
	v.process.SysProcAttr = v.attributes
	if err := v.process.Start(); err != nil {
		v.t.Fatal(err)
	}
	v.t.Cleanup(v.kill)
	linktest.Eventually(v.t, "the process to listen", func() bool {
		conn, err := net.Dial("tcp", v.cfg.HTTPListen[0]) // the last of its ports
		return err == nil && conn.Close() == nil
	})
	v.msg = linktest.DialOurs(v.t, v.cfg.MsgServerListen[0], link.Config{
		Role: "msg_server", Capabilities: []string{link.CapFiles},
	})
	v.shares = &shares{name: v.info().GetName()}
}

// kill ends the process without a warning.
func (v *victim) kill() {
	if v.msg != nil {
		v.msg.Stop() // it would link itself to the next one
	}
	_ = v.process.Process.Kill() // dead already, perhaps
	_ = v.process.Wait()
}

// stopper stands before an S3-compatible server and holds one of the requests
// that change something: before it is done, or before it is answered.
type stopper struct {
	http.Handler
	done bool          // hold it when it is done
	held chan struct{} // closed when it is held
	over <-chan struct{}

	mu   sync.Mutex
	left int // requests until that one; 0 = none
}

func (s *stopper) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPut && r.Method != http.MethodPost || !s.here() {
		s.Handler.ServeHTTP(w, r)
		return
	}
	if s.done {
		s.Handler.ServeHTTP(&swallowed{}, r)
	}
	_, _ = io.Copy(io.Discard, r.Body) // only then the end of the connection is seen
	close(s.held)
	select {
	case <-r.Context().Done(): // who asked is dead
	case <-s.over:
	}
}

func (s *stopper) here() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.left--
	return s.left == 0
}

func (s *stopper) arm(n int, done bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.left, s.done = n, done
}

// swallowed is an answer that nobody gets.
type swallowed struct{ header http.Header }

func (s *swallowed) Header() http.Header {
	if s.header == nil {
		s.header = http.Header{}
	}
	return s.header
}

func (s *swallowed) Write(p []byte) (int, error) { return len(p), nil }

func (s *swallowed) WriteHeader(int) {}

// A process that is killed while it completes a file leaves the whole of it or
// nothing, and completes it when it is started again. On S3 it is killed at
// every request that changes something: a small file is put, a large one begun,
// sent in two parts and finished; then its entry is put.
func TestKilledWhileCompleting(t *testing.T) {
	t.Parallel()
	const small, large = 100_000, 17 << 20
	for _, c := range []struct {
		size, request int
		done          bool
	}{
		{small, 1, false},
		{small, 1, true},
		{small, 2, false},
		{small, 2, true},
		{large, 3, false},
		{large, 4, true},
	} {
		t.Run(fmt.Sprintf("s3 %d bytes, request %d, done %v", c.size, c.request, c.done), func(t *testing.T) {
			t.Parallel()
			s := &stopper{held: make(chan struct{}), over: t.Context().Done()}
			v := newVictim(t, bucket(t, func(h http.Handler) http.Handler { s.Handler = h; return s }))
			killed(t, v, c.size, func() { s.arm(c.request, c.done) }, s.held)
		})
	}
	for _, wait := range []time.Duration{0, 2 * time.Millisecond} {
		t.Run(fmt.Sprintf("local, %v after the last byte", wait), func(t *testing.T) {
			t.Parallel()
			killed(t, newVictim(t, ""), small, func() {}, time.After(wait))
		})
	}
}

// killed sends a file and kills the process at a moment after the last byte.
func killed[T any](t *testing.T, v *victim, size int, ready func(), moment <-chan T) {
	t.Helper()
	data := content(size)
	id, token := v.begin(size, hexSum(data))
	v.want(v.patch(id, token, 0, data[:size-1]), 204)
	ready()
	var sending sync.WaitGroup
	sending.Go(func() { v.lastByte(id, token, data) })
	linktest.Wait(t, moment, "the moment to kill")
	v.kill()
	sending.Wait()
	v.start()
	bobs := v.token(share.Download, bob, toBob(), id)
	got := v.do("GET", "/files/"+id, bobs, nil)
	if got.StatusCode != http.StatusConflict { // it is coming
		equal(t, v.want(got, 200).body, data)
	}
	linktest.Eventually(t, "the server to let go of it", func() bool {
		return v.do("HEAD", "/files/"+id, token, nil, tusHeader).StatusCode != http.StatusLocked
	})
	if v.offset(id, token) != strconv.Itoa(size) { // the last byte was not kept
		v.want(v.patch(id, token, size-1, data[size-1:]), 204)
	}
	if m := v.announced(im.OK); m.GetFileId() != id || hex.EncodeToString(m.GetHash()) != hexSum(data) {
		t.Errorf("announced %v", m)
	}
	equal(t, v.want(v.do("GET", "/files/"+id, bobs, nil), 200).body, data)
}

// lastByte sends the last byte of a file, and does not care for the answer.
func (v *victim) lastByte(id, token string, data []byte) {
	at := len(data) - 1
	req, err := http.NewRequestWithContext(v.t.Context(), http.MethodPatch, "http://"+v.cfg.HTTPListen[0]+"/files/"+id,
		strings.NewReader(string(data[at:])))
	if err != nil {
		v.t.Error(err)
		return
	}
	req.Header = http.Header{
		"Tus-Resumable": {"1.0.0"}, "Authorization": {"Bearer " + token},
		"Content-Type": {offsetType}, "Upload-Offset": {strconv.Itoa(at)},
	}
	res, err := http.DefaultClient.Do(req)
	if err == nil {
		err = res.Body.Close()
	}
	if err != nil {
		v.t.Log("the sender sees:", err)
	}
}
