package trace

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"teamtalk/internal/im"
	"teamtalk/internal/secret"
)

// events are the names of what was found, with users where they matter.
func events(a Answer) string {
	var s []string
	for _, e := range a.Events {
		s = append(s, e.Event.String())
	}
	return strings.Join(s, " ")
}

func TestFind(t *testing.T) {
	t.Parallel()
	conv, other := im.SingleOf(2, 1), im.GroupOf(1)
	op := im.OperationID{1, 2, 3}
	r := New(1000)
	for i, e := range []Record{
		{Event: Received, Conv: conv, Op: op, User: 1, Conn: 10},
		{Event: Received, Conv: conv, Op: im.OperationID{9}, User: 2},
		{Event: Committed, Conv: conv, Op: op, Msg: 7, User: 1},
		{Event: Committed, Conv: other, Msg: 7, User: 1},
		{Event: Acknowledged, Conv: conv, Op: op, Msg: 7, User: 1},
		{Event: Delivered, Conv: conv, Msg: 7, User: 2, Conn: 11},
		{Event: Delivered, Conv: conv, Msg: 8, User: 2, Conn: 11},
		{Event: Confirmed, Conv: conv, Msg: 8, User: 2, Conn: 12},            // of 8 alone
		{Event: Confirmed, Conv: conv, Msg: 8, User: 2, Conn: 11, Detail: 1}, // and of what came before
		{Event: Confirmed, Conv: conv, Msg: 9, User: 2, Conn: 11, Detail: 1}, // told before
		{Event: Read, Conv: conv, Msg: 6, User: 2},
		{Event: Read, Conv: conv, Msg: 9, User: 2},
	} {
		e.At = int64(i + 1)
		r.Note(&e)
	}
	tests := map[string]struct {
		query Query
		want  string
	}{
		"by number":    {Query{Conv: conv, Msg: 7}, "committed acknowledged delivered confirmed read"},
		"by operation": {Query{Op: op}, "received committed acknowledged"},
		"by both":      {Query{Conv: conv, Msg: 7, Op: op}, "received committed acknowledged delivered confirmed read"},
		"of a group":   {Query{Conv: other, Msg: 7}, "committed"},
		"the next one": {Query{Conv: conv, Msg: 8}, "delivered confirmed confirmed read"},
		"unknown":      {Query{Conv: conv, Msg: 10}, ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := r.Find(test.query)
			if got := events(a); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
			if a.Since != a.Started || a.Truncated || a.Events == nil {
				t.Errorf("nothing is missing, but %+v", a)
			}
		})
	}
}

// What was overwritten is gone, and the answer says since when it is complete.
func TestOverwritten(t *testing.T) {
	t.Parallel()
	r := New(4 * shardCount) // four events for each shard
	conv := im.GroupOf(5)
	later := r.started + int64(time.Hour)
	for i := range int64(6) {
		r.Note(&Record{At: later + i, Event: Committed, Conv: conv, Msg: im.MsgID(i + 1)})
	}
	for msg, want := range map[im.MsgID]string{1: "", 2: "", 3: "committed", 6: "committed"} {
		a := r.Find(Query{Conv: conv, Msg: msg})
		if events(a) != want || a.Since != later+2 {
			t.Errorf("message %d: %q since %d, want %q since %d", msg, events(a), a.Since-later, want, 2)
		}
	}
	elsewhere := im.GroupOf(6)
	for elsewhere.Hash()%shardCount == conv.Hash()%shardCount {
		elsewhere.Group++
	}
	if a := r.Find(Query{Conv: elsewhere, Msg: 1}); a.Since != r.started {
		t.Error("another conversation lost nothing")
	}
	if a := r.Find(Query{Op: im.OperationID{1}}); a.Since != later+2 {
		t.Error("with an operation alone, every shard counts")
	}
}

func TestNoRecorder(t *testing.T) {
	t.Parallel()
	r := New(0)
	r.Note(&Record{Event: Received})
	if a := r.Find(Query{Op: im.OperationID{1}}); len(a.Events) != 0 || r.count() != 0 {
		t.Errorf("found %v", a)
	}
}

func TestNoteAllocatesNothing(t *testing.T) { //nolint:paralleltest // AllocsPerRun counts those of all
	r := New(1000)
	e := Record{Event: Delivered, Conv: im.SingleOf(1, 2)}
	if n := testing.AllocsPerRun(100, func() { r.Note(&e) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// Whoever asks while others note gets whole events, in their order.
func TestConcurrent(t *testing.T) {
	t.Parallel()
	r := New(shardCount * 1024)
	conv := im.SingleOf(3, 4)
	var writers, reader sync.WaitGroup
	stop := make(chan struct{})
	for w := range im.UserID(3) {
		writers.Go(func() {
			for i := range uint32(20_000) {
				r.Note(&Record{Event: Delivered, Conv: conv, Msg: 1, User: w, Detail: i, Conn: uint64(i)})
			}
		})
	}
	reader.Go(func() {
		for {
			last := map[im.UserID]uint32{}
			for _, e := range r.Find(Query{Conv: conv, Msg: 1}).Events {
				if uint64(e.Detail) != e.Conn || e.Detail < last[e.User] {
					t.Errorf("event %+v after %d", e, last[e.User])
				}
				last[e.User] = e.Detail
			}
			select {
			case <-stop:
				return
			default:
			}
		}
	})
	writers.Wait()
	close(stop)
	reader.Wait()
	if r.count() != 60_000 {
		t.Errorf("%d events", r.count())
	}
}

func TestHandler(t *testing.T) {
	t.Parallel()
	r := New(100)
	r.Note(&Record{At: 5, Event: Committed, Conv: im.GroupOf(3), Msg: 4, Op: im.OperationID{15: 1}, User: 9})
	const shared = "0123456789abcdef"
	server := httptest.NewServer(NewHandler("db_proxy", r, secret.New(shared), prometheus.NewRegistry()))
	t.Cleanup(server.Close)
	addr := server.Listener.Addr().String()
	a, err := Ask(t.Context(), addr, Query{Conv: im.GroupOf(3), Msg: 4}, nil)
	want := Entry{At: 5, Event: Committed, Conv: "group:3", Msg: 4, User: 9, Op: strings.Repeat("0", 31) + "1"}
	if err != nil || a.Role != "db_proxy" || !slices.Equal(a.Events, []Entry{want}) {
		t.Errorf("got %+v, %v", a, err)
	}
	for query, status := range map[string]int{
		"": 400, "conv=group:3": 400, "msg=4": 400, "conv=group:3&msg=0": 400, "conv=group:0&msg=1": 400,
		"conv=single:1-1&msg=1": 400, "conv=single:1&msg=1": 400, "conv=x&msg=1": 400, "op=12": 400,
		"conv=group:3&msg=4&op=zz": 400, "conv=single:2-1&msg=1": 200, "op=" + want.Op: 200,
	} {
		res, err := server.Client().Get(server.URL + Path + "?" + query)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != status {
			t.Errorf("%q: %s, want %d", query, res.Status, status)
		}
	}
}

// Only this machine may ask, and who knows the secret.
func TestAllowed(t *testing.T) {
	t.Parallel()
	shared, now := []byte("0123456789abcdef"), time.Unix(1_700_000_000, 0)
	query := Query{Conv: im.GroupOf(3), Msg: 4}
	ask := func(remote, host string) *http.Request {
		req := httptest.NewRequest(http.MethodGet, "http://"+host+Path+"?"+query.String(), http.NoBody)
		req.RemoteAddr = remote
		return req
	}
	signed := func(key []byte, at time.Time, query string) *http.Request {
		req := ask("192.0.2.7:1000", "im.example:8050")
		proveTo(req, key, query, at)
		return req
	}
	tests := map[string]struct {
		req    *http.Request
		shared []byte
		want   bool
	}{
		"loopback":                     {ask("127.0.0.1:9", "127.0.0.1:8050"), nil, true},
		"loopback by name":             {ask("[::1]:9", "localhost:8050"), nil, true},
		"loopback, a name of somebody": {ask("127.0.0.1:9", "evil.example:8050"), nil, false},
		"another machine":              {ask("192.0.2.7:9", "192.0.2.1:8050"), shared, false},
		"another machine, no secret":   {signed(nil, now, query.String()), nil, false},
		"signed":                       {signed(shared, now, query.String()), shared, true},
		"signed a little before":       {signed(shared, now.Add(-50*time.Second), query.String()), shared, true},
		"signed long ago":              {signed(shared, now.Add(-2*time.Minute), query.String()), shared, false},
		"signed with another secret":   {signed([]byte("no"), now, query.String()), shared, false},
		"signed for another message":   {signed(shared, now, "op=00"), shared, false},
	}
	for name, test := range tests {
		h := NewHandler("r", New(10), secret.New(string(test.shared)), prometheus.NewRegistry())
		if got := h.allowed(test.req, now); got != test.want {
			t.Errorf("%s: %v, want %v", name, got, test.want)
		}
	}
}

// A role that refuses, keeps nothing, or is none says so.
func TestAskFailures(t *testing.T) {
	t.Parallel()
	query := Query{Op: im.OperationID{1}}
	answers := map[string]struct {
		handler http.HandlerFunc
		check   func(error) bool
	}{
		"refused": {
			func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) },
			func(err error) bool { return errors.Is(err, ErrRefused) },
		},
		"keeps nothing": {
			NewHandler("r", nil, secret.Value{}, prometheus.NewRegistry()).ServeHTTP,
			func(err error) bool { return im.CodeOf(err) == im.NotFound },
		},
		"no role": {
			func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) },
			func(err error) bool { return err != nil },
		},
	}
	for name, test := range answers {
		server := httptest.NewServer(test.handler)
		_, err := Ask(t.Context(), server.Listener.Addr().String(), query, nil)
		server.Close()
		if !test.check(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Ask(ctx, "127.0.0.1:1", query, nil); err == nil {
		t.Error("nobody is there")
	}
}

// Every event has a name that is read back; one of a later version is 0.
func TestEventNames(t *testing.T) {
	t.Parallel()
	for e := Received; e < eventEnd; e++ {
		text, err := json.Marshal(e)
		var back Event
		if err == nil {
			err = json.Unmarshal(text, &back)
		}
		if err != nil || back != e || e.String() == "" {
			t.Errorf("event %d: %s, %v", e, text, err)
		}
	}
	e := Read
	if err := e.UnmarshalText([]byte("forgotten")); err != nil || e != 0 || Event(200).String() != "" {
		t.Errorf("unknown event: %d, %v", e, err)
	}
}
