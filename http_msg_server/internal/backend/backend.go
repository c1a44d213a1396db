// Package backend asks the other servers: db_proxies and route_servers. It
// turns their PDUs into calls that return an answer, and sends messages the
// way a msg_server does: to the owner of the conversation, and then over the
// route_servers to whoever is on-line.
//
// Source: docs/protocol/flows.md §2, §18; docs/architecture.md.
package backend

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/proto"

	"teamtalk/internal/ask"
	"teamtalk/internal/dblink"
	"teamtalk/internal/im"
	"teamtalk/internal/link"
	"teamtalk/internal/notify"
	"teamtalk/internal/trace"
	"teamtalk/internal/transport"
	"teamtalk/internal/wire"
)

// Patience is how long an answer may take, unless the context ends before or
// the Config says something else.
const Patience = 8 * time.Second

// Config of a Backend. Servers are host:port.
type Config struct {
	DBServers    []string
	PerEntry     int // connections to each db_proxy
	RouteServers []string
	PushServers  []string
	AESKey       []byte        // 32 bytes
	Patience     time.Duration // 0 is Patience
}

// Deps of a Backend. All but Trace are needed.
type Deps struct {
	Node    *link.Node
	Dropped *prometheus.CounterVec // by reason
	Log     *slog.Logger
	Reg     prometheus.Registerer
	Trace   *trace.Recorder // nil remembers nothing
}

// Backend is safe from any goroutine.
type Backend struct {
	node    *link.Node
	db      *dblink.Links
	routes  *routes
	phones  *notify.Notifier
	dropped *prometheus.CounterVec
	trace   *trace.Recorder
	wait    time.Duration // for an answer
	turn    atomic.Uint64 // spreads requests over the db_proxies

	calls ask.Calls
}

// New returns a Backend that Run connects.
func New(cfg Config, deps Deps) (*Backend, error) {
	b := &Backend{node: deps.Node, dropped: deps.Dropped, trace: deps.Trace, wait: cmp.Or(cfg.Patience, Patience)}
	b.db = dblink.New(cfg.DBServers, cfg.PerEntry, deps.Node, b)
	b.routes = &routes{backend: b, addrs: cfg.RouteServers}
	var err error
	b.phones, err = notify.New(notify.Config{PushServers: cfg.PushServers, AESKey: cfg.AESKey}, notify.Deps{
		Node: deps.Node, DB: b.general, Route: b.routes.live.Oldest, Log: deps.Log, Reg: deps.Reg,
	})
	return b, err
}

// general returns one db_proxy after the other.
func (b *Backend) general() *link.Link { return b.db.General(b.turn.Add(1)) }

// Run keeps the links open until ctx ends.
func (b *Backend) Run(ctx context.Context, engine *transport.Engine) {
	var links sync.WaitGroup
	links.Go(func() { b.db.Run(ctx, engine) })
	links.Go(func() { b.node.KeepAll(ctx, engine, "route_server", b.routes.addrs, b.routes) })
	links.Go(func() { b.phones.Run(ctx, engine) })
	links.Wait()
}

// Ready says what is missing; nil when both kinds of servers are linked.
func (b *Backend) Ready() error {
	switch {
	case !b.db.Open():
		return errors.New("no db_proxy")
	case b.routes.live.Empty():
		return errors.New("no route_server")
	}
	return nil
}

// DB asks a db_proxy one of its original commands. im.Unavailable: none is
// linked, or it did not answer.
func (b *Backend) DB(ctx context.Context, req proto.Message, command, answer wire.Command, res proto.Message) error {
	return b.ask(ctx, b.general(), req, command, answer, res)
}

// Group is DB for what changes a group: it goes to the group's owner, so that
// it takes its turn among the messages.
func (b *Backend) Group(
	ctx context.Context, g im.GroupID, req proto.Message, command, answer wire.Command, res proto.Message,
) error {
	return b.ask(ctx, b.db.Owner(im.GroupOf(g)), req, command, answer, res)
}

// coded is an answer to one of the commands of the API.
type coded interface {
	proto.Message
	GetCode() uint32
}

// API asks a db_proxy of ours for the API. A code in the answer comes back as
// an *im.Error.
func (b *Backend) API(ctx context.Context, req proto.Message, command wire.Command, res coded) error {
	return b.coded(ctx, b.general(), link.CapAPI, req, command, res)
}

func (b *Backend) coded(
	ctx context.Context, l *link.Link, capability string, req proto.Message, command wire.Command, res coded,
) error {
	if l != nil && !l.Has(capability) {
		return im.Errorf(im.Unavailable, "%s is an original server: it has no API", l.Addr())
	}
	if err := b.ask(ctx, l, req, command, command+1, res); err != nil {
		return err
	}
	if code := im.Code(res.GetCode()); code != im.OK {
		return im.Errorf(code, "%v refused", command)
	}
	return nil
}

// ask sends one question and waits for its answer.
func (b *Backend) ask(
	ctx context.Context, l *link.Link, req proto.Message, command, answer wire.Command, res proto.Message,
) error {
	ctx, cancel := context.WithTimeout(ctx, b.wait)
	defer cancel()
	body, err := b.calls.Exchange(ctx, l, req, command, answer)
	if err != nil {
		return im.Wrap(im.Unavailable, "ask "+command.String(), err)
	}
	if err := proto.Unmarshal(body, res); err != nil {
		return im.Wrap(im.Internal, "read the answer to "+command.String(), err)
	}
	return nil
}

// DBPDU is dblink.Handler's.
func (b *Backend) DBPDU(_ *link.Link, pdu wire.PDU) { b.answered(pdu) }

// DBDown is dblink.Handler's.
func (b *Backend) DBDown(l *link.Link) { b.lost(l) }

// DBMoved is dblink.Handler's: whoever waits asks again elsewhere.
func (b *Backend) DBMoved(l *link.Link) { b.calls.Lost(l) }

// DBEpoch is dblink.Handler's: nothing that was known is kept here.
func (b *Backend) DBEpoch() {}

// lost ends what was asked over a link that is gone.
func (b *Backend) lost(l *link.Link) {
	b.calls.Lost(l)
	b.phones.Lost(l)
}

// answered gives an answer to whoever asked.
func (b *Backend) answered(pdu wire.PDU) {
	if b.phones.Answered(pdu) {
		return
	}
	switch b.calls.Answered(pdu) {
	case ask.Taken:
	case ask.Late:
		b.dropped.WithLabelValues("late_answer").Inc()
	case ask.Other:
		b.dropped.WithLabelValues("unknown_command").Inc()
	}
}
