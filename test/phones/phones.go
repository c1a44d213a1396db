// Package phones stands in for Apple's and Google's push services in tests:
// HTTP/2 over TLS, as strict as they are about who asks and what for. A token
// is a phone; what rings there is kept until a test takes it.
package phones

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"
)

// Topic is the bundle id of the app; all others are refused.
const Topic = "com.example.teamtalk"

// Ring is what came to a phone.
type Ring struct {
	Line  string // what it shows; "" when only the number at the icon changes
	Badge uint32 // that number
	Data  string // for the app
}

// Pushed is a ring and where it was.
type Pushed struct {
	Token string `json:"token"`
	Line  string `json:"line"`
	Badge uint32 `json:"badge"`
}

// Services are a stand-in of both. Its methods are safe from any goroutine.
type Services struct {
	apple, appleByCert, google *httptest.Server
	credentials                credentials

	mu       sync.Mutex // guards the fields below
	rings    map[string][]Ring
	gone     map[string]bool
	busy     map[string]*busy
	refused  []string
	requests map[string]int // by token, whatever the answer
	all      []Pushed
	access   int           // number of the last access token given out
	revoked  bool          // none is valid
	news     chan struct{} // closed and replaced whenever a request came
}

// busy is an answer that a phone's service gives a few times.
type busy struct{ status, left int }

// Start starts both services for the length of a test. What they had to refuse
// fails it.
func Start(t testing.TB) *Services {
	t.Helper()
	s := &Services{
		rings: make(map[string][]Ring), gone: make(map[string]bool), busy: make(map[string]*busy),
		requests: make(map[string]int), news: make(chan struct{}),
	}
	serve := func(h http.HandlerFunc) *httptest.Server {
		server := httptest.NewUnstartedServer(h)
		server.EnableHTTP2 = true
		t.Cleanup(server.Close)
		return server
	}
	s.apple, s.appleByCert, s.google = serve(s.appleByToken), serve(s.appleTrusting), serve(s.askGoogle)
	s.credentials.make(t, s)
	for _, server := range []*httptest.Server{s.apple, s.appleByCert, s.google} {
		server.StartTLS()
	}
	s.credentials.writeAccount(t, s.google.URL)
	t.Cleanup(func() {
		for _, r := range s.Refused() {
			t.Errorf("push service: %s", r)
		}
	})
	return s
}

// IPhone returns the device token of an iPhone by a name of one's own.
func IPhone(name string) string {
	sum := sha256.Sum256([]byte(name))
	return hex.EncodeToString(sum[:])
}

// Take waits for the oldest ring of a phone that was not taken yet.
func (s *Services) Take(ctx context.Context, token string) (Ring, error) {
	for {
		s.mu.Lock()
		news, rings := s.news, s.rings[token]
		if len(rings) > 0 {
			s.rings[token] = rings[1:]
			s.mu.Unlock()
			return rings[0], nil
		}
		s.mu.Unlock()
		select {
		case <-news:
		case <-ctx.Done():
			return Ring{}, fmt.Errorf("%.12s did not ring: %w", token, ctx.Err())
		}
	}
}

// All returns every ring so far, taken or not, in order.
func (s *Services) All() []Pushed {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Pushed{}, s.all...)
}

// Left describes what nobody has taken.
func (s *Services) Left() (all []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for token, rings := range s.rings {
		for _, r := range rings {
			all = append(all, fmt.Sprintf("%.12s: %+v", token, r))
		}
	}
	slices.Sort(all)
	return all
}

// Gone makes a phone take no pushes any more.
func (s *Services) Gone(token string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gone[token] = true
}

// Busy has the next requests for a phone answered with an HTTP status.
func (s *Services) Busy(token string, status, times int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.busy[token] = &busy{status, times}
}

// Revoke ends the validity of Google's access tokens given out so far.
func (s *Services) Revoke() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.revoked = true
}

// Requests returns how often the services were asked to push to a phone.
func (s *Services) Requests(token string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.requests[token]
}

// Refused returns what the real services would not have taken, and forgets it.
func (s *Services) Refused() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := s.refused
	s.refused = nil
	return all
}

// refuse notes a request that breaks a rule.
func (s *Services) refuse(w http.ResponseWriter, status int, format string, args ...any) {
	s.mu.Lock()
	s.refused = append(s.refused, fmt.Sprintf(format, args...))
	s.mu.Unlock()
	w.WriteHeader(status)
}

// outcome is what becomes of a push.
type outcome struct {
	gone   bool
	status int // of a busy service; 0 when it was taken
}

// push takes one that breaks no rule.
func (s *Services) push(token string, r Ring) outcome {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests[token]++
	defer func() {
		close(s.news)
		s.news = make(chan struct{})
	}()
	if b := s.busy[token]; b != nil && b.left > 0 {
		b.left--
		return outcome{status: b.status}
	}
	if s.gone[token] {
		return outcome{gone: true}
	}
	s.rings[token] = append(s.rings[token], r)
	s.all = append(s.all, Pushed{token, r.Line, r.Badge})
	return outcome{}
}

// maxAge is how old a signature may be; Apple and Google agree.
const maxAge = time.Hour
