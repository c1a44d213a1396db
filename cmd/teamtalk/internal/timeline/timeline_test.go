package timeline

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"teamtalk/db_proxy/dbproxy"
	"teamtalk/internal/im"
	"teamtalk/internal/trace"
)

// sent is when the message of the tests was sent; the events follow.
const sent = 1_700_000_000

func at(ms int64) int64 { return (sent*1000 + ms) * int64(time.Millisecond) }

func facts() dbproxy.MessageFacts {
	return dbproxy.MessageFacts{
		Conversation: "single:1-2", ID: 7, OperationID: strings.Repeat("ab", 16), Stored: true, From: 1, Type: 1,
		Created: sent, Newest: 9, Users: []uint32{1, 2}, Names: map[uint32]string{1: "alice", 2: "bob"},
		Read: []dbproxy.CursorFact{{User: 2, Upto: 6, Updated: sent}},
	}
}

// answer is one of a role that remembers everything since then.
func answer(role string, since int64, events ...trace.Entry) trace.Answer {
	return trace.Answer{Role: role, Started: since, Since: since, Events: events}
}

func source(name, role string, since int64, events ...trace.Entry) Source {
	return Source{Name: name, Answer: answer(role, since, events...)}
}

func entry(ms int64, event trace.Event, user im.UserID, detail uint32) trace.Entry {
	e := trace.Entry{At: at(ms), Event: event, Conv: "single:1-2", Msg: 7, User: user, Detail: detail}
	if user != 0 {
		e.Client, e.Conn = im.Android, 5
	}
	return e
}

// states writes the stages and people in short.
func states(t *Timeline) string {
	var parts []string
	for _, s := range t.Stages {
		parts = append(parts, fmt.Sprintf("%s=%s", s.Stage, s.State))
	}
	for _, p := range t.People {
		parts = append(parts, fmt.Sprintf("%s: %s %s %s", p.Name, p.Delivered, p.Confirmed, p.Read))
	}
	return strings.Join(parts, " ")
}

func TestStates(t *testing.T) {
	t.Parallel()
	all := at(0) - int64(time.Hour) // everybody remembers everything
	whole := []Source{
		source("msg_server_1", "msg_server", all, entry(1, trace.Received, 1, 0), entry(4, trace.Acknowledged, 1, 0)),
		source("msg_server_2", "msg_server", all,
			entry(6, trace.Arrived, 0, 0), entry(7, trace.Delivered, 2, 0), entry(8, trace.Confirmed, 2, 0)),
		source("db_proxy_1", "db_proxy", all, entry(3, trace.Committed, 1, 4)),
		source("route_server_1", "route_server", all, entry(5, trace.Relayed, 0, 1)),
	}
	quiet := []Source{source("msg_server_1", "msg_server", all), source("db_proxy_1", "db_proxy", all)}
	tests := map[string]struct {
		change  func(*dbproxy.MessageFacts)
		dbErr   error
		sources []Source
		want    string
	}{
		"all is known": {
			nil, nil, whole, "received=yes committed=yes acknowledged=yes relayed=yes bob: yes yes no",
		},
		"nothing happened but the commit": {
			nil, nil, quiet, "received=no committed=yes acknowledged=no relayed=no bob: no no no",
		},
		"a server forgot": {
			nil, nil,
			[]Source{source("msg_server_1", "msg_server", all), source("msg_server_2", "msg_server", at(1))},
			"received=unknown committed=yes acknowledged=unknown relayed=unknown bob: unknown unknown no",
		},
		"a server is away": {
			nil, nil, append([]Source{{Name: "msg_server_2", Err: errors.New("refused")}}, quiet...),
			"received=unknown committed=yes acknowledged=unknown relayed=unknown bob: unknown unknown no",
		},
		"nobody was asked": {
			nil, nil, nil, "received=unknown committed=yes acknowledged=unknown relayed=unknown bob: unknown unknown no",
		},
		"over the API": {
			nil, nil,
			append([]Source{source("http_msg_server_1", "http_msg_server", all,
				entry(1, trace.Received, 1, 0), entry(3, trace.Relayed, 0, 2), entry(4, trace.Acknowledged, 1, 0))}, quiet...),
			"received=yes committed=yes acknowledged=yes relayed=yes bob: no no no",
		},
		"the API forgot": {
			nil, nil,
			append([]Source{source("http_msg_server_1", "http_msg_server", at(1))}, quiet...),
			"received=unknown committed=yes acknowledged=unknown relayed=unknown bob: no no no",
		},
		"only the API was asked": {
			nil, nil,
			[]Source{source("http_msg_server_1", "http_msg_server", all)},
			"received=unknown committed=yes acknowledged=unknown relayed=unknown bob: unknown unknown no",
		},
		"cursors say it": {
			func(f *dbproxy.MessageFacts) {
				f.Read[0].Upto = 8
				f.Delivered = []dbproxy.CursorFact{{User: 2, Terminal: "phone", Upto: 7}}
			}, nil, nil, "received=unknown committed=yes acknowledged=unknown relayed=unknown bob: yes yes yes",
		},
		"the database is away": {
			func(f *dbproxy.MessageFacts) { *f = dbproxy.MessageFacts{Conversation: "single:1-2", ID: 7} },
			errors.New("away"), whole, "received=yes committed=yes acknowledged=yes relayed=yes",
		},
		"refused": {
			func(f *dbproxy.MessageFacts) { *f = dbproxy.MessageFacts{OperationID: f.OperationID} }, nil,
			[]Source{source("msg_server_1", "msg_server", all, entry(1, trace.Received, 1, 0), entry(2, trace.Failed, 1, 3))},
			"received=yes committed=no acknowledged=no relayed=no",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := facts()
			if test.change != nil {
				test.change(&f)
			}
			line := Build(f, test.dbErr, test.sources)
			if got := states(line); got != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
			if !line.Found() {
				t.Error("something is known")
			}
		})
	}
	if line := Build(dbproxy.MessageFacts{}, nil, quiet); line.Found() {
		t.Error("nothing is known")
	}
}

func TestPrint(t *testing.T) {
	t.Parallel()
	sources := []Source{
		source("msg_server_1", "msg_server", at(2), entry(4, trace.Acknowledged, 1, 0), entry(9, trace.Read, 2, 1)),
		source("db_proxy_1", "db_proxy", at(-9000), entry(3, trace.Committed, 1, 4)),
		{Name: "route_server_1", Err: trace.ErrRefused},
	}
	var b strings.Builder
	if err := Build(facts(), nil, sources).Print(&b); err != nil {
		t.Fatal(err)
	}
	got := strings.Join(strings.Fields(b.String()), " ")
	clockOf := func(ms int64) string { return clock(time.Unix(0, at(ms))) }
	for _, want := range []string{
		"single:1-2 message 7, text from alice (1)",
		"stored " + date(sent) + ", operation " + strings.Repeat("ab", 16) + "; 2 messages since",
		clockOf(3) + " db_proxy_1 committed alice (1) on android, connection 5; with 3 others " +
			clockOf(4) + " msg_server_1 acknowledged alice (1) on android, connection 5 " +
			clockOf(9) + " msg_server_1 read bob (2) on android, connection 5; up to 7",
		"? ? received unknown: msg_server_1 remembers only since " + clockOf(2),
		"bob (2) delivered unknown confirmed unknown read yes (cursor 6)",
		"route_server_1: refused",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
}

// Every event has words for its detail.
func TestNotes(t *testing.T) {
	t.Parallel()
	tests := map[string]trace.Entry{
		"to a db_proxy, attempt 2":  {Event: trace.Forwarded, Detail: 2},
		"alone":                     {Event: trace.Committed, Detail: 1},
		"with 1 other":              {Event: trace.Committed, Detail: 2},
		"it had been stored before": {Event: trace.Repeated},
		"denied":                    {Event: trace.Failed, Detail: 3},
		"to 2 route_servers":        {Event: trace.Relayed, Detail: 2},
		"from another msg_server":   {Event: trace.Arrived},
		"for the message before it": {Event: trace.Held},
		"held already":              {Event: trace.Duplicate},
		"":                          {Event: trace.Confirmed, Msg: 7},
		"up to 7":                   {Event: trace.Confirmed, Msg: 7, Detail: 1},
		"after a later one: left to unread and history": {Event: trace.Late},
	}
	for want, e := range tests {
		if got := note(&e, "msg_server"); got != want {
			t.Errorf("%v: %q, want %q", e.Event, got, want)
		}
	}
	if got := note(&trace.Entry{Event: trace.Relayed}, "route_server"); got != "to 0 msg_servers" {
		t.Errorf("a route_server: %q", got)
	}
	if got := note(&trace.Entry{Event: trace.Acknowledged}, "http_msg_server"); got != "over HTTP" {
		t.Errorf("an http_msg_server: %q", got)
	}
}
