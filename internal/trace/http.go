package trace

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"teamtalk/internal/im"
	"teamtalk/internal/secret"
)

// Path is where a role answers on its health port: GET with the parameters
// conv and msg, op, client, or several of them.
const Path = "/trace"

// Headers by which a caller from another machine proves that it knows the
// link secret: the time in Unix seconds, and an HMAC-SHA256 of time and query.
const (
	headerTime = "Teamtalk-Time"
	headerMAC  = "Teamtalk-Mac"
)

const (
	clockSkew = time.Minute // between the two machines
	maxAnswer = 16 << 20    // bytes
)

// ErrRefused says that a role did not believe the caller.
var ErrRefused = errors.New("refused: ask on its machine, or with the LinkSecret of the servers")

// Handler answers questions about messages, which are nobody's business: only
// to this machine, and to who knows the link secret. An empty secret proves
// nothing.
type Handler struct {
	role     string
	recorder *Recorder
	secret   secret.Value
	refused  prometheus.Counter
}

// NewHandler returns the Handler of a role and registers the metrics of its
// recorder.
func NewHandler(role string, r *Recorder, shared secret.Value, reg prometheus.Registerer) *Handler {
	h := &Handler{role: role, recorder: r, secret: shared, refused: prometheus.NewCounter(prometheus.CounterOpts{
		Name: "im_trace_refused_total", Help: "Questions about messages from callers who may not ask.",
	})}
	reg.MustRegister(h.refused, prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "im_trace_events_total", Help: "Events of messages noted for teamtalk trace.",
	}, func() float64 { return float64(r.count()) }))
	return h
}

// count returns how many events were noted.
func (r *Recorder) count() (n uint64) {
	if r == nil {
		return 0
	}
	for i := range r.shards {
		r.shards[i].mu.Lock()
		n += r.shards[i].next
		r.shards[i].mu.Unlock()
	}
	return n
}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	if !h.allowed(req, time.Now()) { //nolint:forbidigo // of the caller's clock
		h.refused.Inc()
		http.Error(w, "only from this machine or with the link secret", http.StatusForbidden)
		return
	}
	if h.recorder == nil {
		http.Error(w, "TraceEvents is 0", http.StatusNotFound)
		return
	}
	q, err := parse(req.URL.Query().Get)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	answer := h.recorder.Find(q)
	answer.Role = h.role
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_ = json.NewEncoder(w).Encode(answer) // whoever asked may have gone
}

// allowed reports whether a caller may ask. A page in a browser of this
// machine that had its name resolved to us may not.
func (h *Handler) allowed(req *http.Request, now time.Time) bool {
	remote, err := netip.ParseAddrPort(req.RemoteAddr)
	if err == nil && remote.Addr().Unmap().IsLoopback() && localHost(req.Host) {
		return true
	}
	seconds, err := strconv.ParseInt(req.Header.Get(headerTime), 10, 64)
	if err != nil || h.secret.Reveal() == "" || now.Sub(time.Unix(seconds, 0)).Abs() > clockSkew {
		return false
	}
	mac, err := hex.DecodeString(req.Header.Get(headerMAC))
	return err == nil && hmac.Equal(mac, sign([]byte(h.secret.Reveal()), seconds, req.URL.RawQuery))
}

func localHost(host string) bool {
	if name, _, ok := strings.Cut(host, ":"); ok && name == "localhost" {
		return true
	}
	_, err := netip.ParseAddrPort(host)
	return err == nil || host == "localhost"
}

// proveTo shows that the caller knows the secret.
func proveTo(req *http.Request, secret []byte, query string, now time.Time) {
	seconds := now.Unix()
	req.Header.Set(headerTime, strconv.FormatInt(seconds, 10))
	req.Header.Set(headerMAC, hex.EncodeToString(sign(secret, seconds, query)))
}

func sign(secret []byte, seconds int64, query string) []byte {
	mac := hmac.New(sha256.New, secret)
	_, _ = fmt.Fprintf(mac, "trace\n%d\n%s", seconds, query)
	return mac.Sum(nil)
}

// Ask asks the role whose health port is at addr, host:port. A secret that is
// not empty proves who asks. ErrRefused: it was not enough; im.NotFound: the
// role remembers nothing.
func Ask(ctx context.Context, addr string, q Query, secret []byte) (a Answer, err error) {
	url := "http://" + addr + Path + "?" + q.String()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return a, fmt.Errorf("ask %s: %w", addr, err)
	}
	if len(secret) > 0 {
		proveTo(req, secret, q.String(), time.Now()) //nolint:forbidigo // of this machine
	}
	// A transport of its own leaves no connection behind.
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(req)
	if err != nil {
		return a, fmt.Errorf("ask %s: %w", addr, err)
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	switch {
	case err != nil:
		return a, fmt.Errorf("ask %s: %w", addr, err)
	case res.StatusCode == http.StatusForbidden:
		return a, fmt.Errorf("ask %s: %w", addr, ErrRefused)
	case res.StatusCode == http.StatusNotFound:
		return a, im.Errorf(im.NotFound, "it keeps no events: TraceEvents is 0, or it is of an earlier version")
	case res.StatusCode != http.StatusOK:
		return a, fmt.Errorf("ask %s: it answers %s", addr, res.Status)
	}
	if err := json.Unmarshal(body, &a); err != nil {
		return a, fmt.Errorf("ask %s: read its answer: %w", addr, err)
	}
	return a, nil
}
