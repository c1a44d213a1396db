package httpserver

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"mime"
	"net/http"
	"net/netip"
	"reflect"
	"strconv"
	"strings"
	"time"

	"teamtalk/http_msg_server/internal/apikey"
	"teamtalk/http_msg_server/internal/audit"
	"teamtalk/internal/im"
)

// call is one request to the API.
type call struct {
	server  *Server
	op      *operation
	w       http.ResponseWriter
	r       *http.Request
	id      string // X-Request-Id of the answer
	from    netip.Addr
	key     apikey.Key
	status  int
	subject string // what was changed, for the audit
	once    *once  // nil for a request without an Idempotency-Key
}

// ctx ends with the request.
func (c *call) ctx() context.Context { return c.r.Context() }

// none is the body of requests and answers that have none.
type none struct{}

// serve handles one request of an operation: who asks, may he, how often,
// and then the operation itself.
func (s *Server) serve(op *operation) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		started := s.clock()
		c := &call{server: s, op: op, w: w, r: r, id: rand.Text(), status: op.Status}
		if peer, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
			c.from = peer.Addr().Unmap()
		}
		w.Header().Set("X-Request-Id", c.id)
		out, err := c.run()
		if err != nil {
			c.fail(err)
		} else {
			c.answer(out)
		}
		s.metrics.requests.WithLabelValues(op.ID, strconv.Itoa(c.status)).Inc()
		s.metrics.seconds.WithLabelValues(op.ID).Observe(s.clock().Sub(started).Seconds())
	}
}

func (c *call) run() (any, error) {
	if err := c.admit(); err != nil {
		return nil, err
	}
	if err := c.onlyParams(); err != nil {
		return nil, err
	}
	in := reflect.New(reflect.TypeOf(c.op.In))
	if c.op.hasBody() {
		if err := c.decode(in.Interface()); err != nil {
			return nil, err
		}
		if checked, ok := reflect.TypeAssert[interface{ check() error }](in); ok {
			if err := checked.check(); err != nil {
				return nil, err
			}
		}
	}
	if c.op.changes() {
		key, err := c.idempotencyKey()
		if err != nil {
			return nil, err
		}
		if key != "" {
			return c.runOnce(key, in.Interface())
		}
	}
	return c.op.run(c, in.Interface())
}

// admit decides whether the caller may ask this now.
func (c *call) admit() error {
	if c.op.Scope == "" {
		return nil
	}
	token, ok := strings.CutPrefix(c.r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		return unauthorized("send Authorization: Bearer with an API key")
	}
	var err error
	c.key, err = c.server.keys.Check(c.ctx(), strings.TrimSpace(token), c.from)
	switch im.CodeOf(err) {
	case im.OK:
	case im.Denied:
		return unauthorized("the API key does not exist, or was revoked")
	case im.Busy:
		return limitedFor(time.Second, "too many wrong API keys from this address")
	default:
		return err
	}
	if wait, ok := c.server.keys.Allow(c.key); !ok {
		return limitedFor(wait, fmt.Sprintf("this API key is limited to %d requests per second", c.key.Rate))
	}
	if !allows(c.key.Scopes, c.op.Scope) {
		return &fault{Status: http.StatusForbidden, Code: "forbidden", Message: "the API key lacks the scope " + c.op.Scope}
	}
	return nil
}

func unauthorized(message string) *fault {
	return &fault{Status: http.StatusUnauthorized, Code: "unauthorized", Message: message}
}

func limitedFor(wait time.Duration, message string) *fault {
	return &fault{Status: http.StatusTooManyRequests, Code: "rate_limited", Message: message, Wait: wait}
}

// decode reads the body: one JSON object with the members of in and no others.
func (c *call) decode(in any) error {
	kind, _, err := mime.ParseMediaType(c.r.Header.Get("Content-Type"))
	if err != nil || kind != "application/json" {
		return &fault{
			Status: http.StatusUnsupportedMediaType, Code: "unsupported_media_type", Message: "send application/json",
			Field: "Content-Type",
		}
	}
	body, err := io.ReadAll(http.MaxBytesReader(c.w, c.r.Body, int64(c.server.cfg.MaxBodyBytes)))
	if _, over := errors.AsType[*http.MaxBytesError](err); over {
		return tooLarge("", fmt.Sprintf("the body is longer than %d bytes", c.server.cfg.MaxBodyBytes))
	}
	if err != nil {
		return wrong("", "the body ends too soon")
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(body, &members); err != nil || members == nil {
		return wrong("", "the body is not one JSON object")
	}
	for name := range required(reflect.TypeOf(in).Elem()) {
		if raw, ok := members[name]; !ok || string(raw) == "null" {
			return wrong(name, "is missing")
		}
	}
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.DisallowUnknownFields()
	err = decoder.Decode(in)
	if mistyped, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return wrong(mistyped.Field, "must not be a "+mistyped.Value)
	}
	if err != nil {
		if _, name, found := strings.Cut(err.Error(), "unknown field "); found {
			return wrong(strings.Trim(name, `"`), "is not known")
		}
		return wrong("", "the body is not one JSON object")
	}
	return nil
}

// required returns the names of the members that must be there: those whose
// tag has no omitempty.
func required(t reflect.Type) map[string]bool {
	names := map[string]bool{}
	for f := range t.Fields() {
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if options != "omitempty" {
			names[name] = true
		}
	}
	return names
}

// answer writes a result.
func (c *call) answer(out any) {
	c.note()
	if c.status == http.StatusNoContent {
		c.w.WriteHeader(c.status)
		return
	}
	c.write(out)
}

// failure is the body of an answer that says what is wrong.
type failure struct {
	Error failureDetail `json:"error"`
}

type failureDetail struct {
	Code      string `json:"code"`
	Message   string `json:"message"`
	Field     string `json:"field,omitempty"`
	RequestID string `json:"request_id"`
}

// fail writes what is wrong.
func (c *call) fail(err error) {
	f := faultOf(err)
	c.status = f.Status
	if f.Status >= http.StatusInternalServerError {
		c.server.log.WarnContext(c.ctx(), "request failed", "operation", c.op.ID, "request_id", c.id,
			"status", f.Status, "error", err)
	}
	if f.Status == http.StatusUnauthorized {
		c.w.Header().Set("WWW-Authenticate", `Bearer realm="teamtalk"`)
	}
	if f.Wait > 0 {
		c.w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(f.Wait.Seconds()))))
	}
	c.note()
	c.write(failure{failureDetail{Code: f.Code, Message: f.Message, Field: f.Field, RequestID: c.id}})
}

func (c *call) write(out any) {
	body, err := json.Marshal(out)
	if err != nil { // our own types always encode
		c.status = http.StatusInternalServerError
		body = []byte(`{}`)
	}
	c.w.Header().Set("Content-Type", "application/json")
	c.w.WriteHeader(c.status)
	_, _ = c.w.Write(append(body, '\n')) // whoever asked may have gone
}

// note puts a change into the audit: what was done, and what failed in the
// middle so that nobody knows.
func (c *call) note() {
	if c.subject == "" {
		return
	}
	c.server.audit.Add(c.ctx(), audit.Entry{
		At: c.server.clock(), KeyID: c.key.ID, Action: c.op.ID, Subject: cutSubject(c.subject),
		RequestID: c.id, Remote: c.from.String(), Status: c.status,
	})
}

// maxSubject is what the column holds, in characters. One row that does not
// fit would keep all others out.
const maxSubject = 255

func cutSubject(subject string) string {
	if runes := []rune(subject); len(runes) > maxSubject {
		return string(runes[:maxSubject])
	}
	return subject
}
