// Package backend asks the other servers: db_proxies and route_servers. It
// turns their PDUs into calls that return an answer, and sends messages the
// way a msg_server does: to the owner of the conversation, and then over the
// route_servers to whoever is on-line.
//
// Source: flows.md §2, §18; docs/architecture.md.
package backend

import (
	"context"
	"encoding/binary"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"teamtalk/internal/dblink"
	"teamtalk/internal/im"
	"teamtalk/internal/link"
	"teamtalk/internal/transport"
	"teamtalk/internal/wire"
)

// Patience is how long an answer may take, unless the context ends before.
const Patience = 8 * time.Second

// maxWaiting bounds the questions under way.
const maxWaiting = 20_000

// errLost says that the link went down before the answer came: nobody knows
// whether the request was carried out.
var errLost = errors.New("the link was lost before the answer")

// Config of a Backend. Servers are host:port.
type Config struct {
	DBServers    []string
	PerEntry     int // connections to each db_proxy
	RouteServers []string
}

// Deps of a Backend. All are needed.
type Deps struct {
	Node    *link.Node
	Dropped *prometheus.CounterVec // by reason
}

// Backend is safe from any goroutine.
type Backend struct {
	node    *link.Node
	db      *dblink.Links
	routes  *routes
	dropped *prometheus.CounterVec
	turn    atomic.Uint64 // spreads requests over the db_proxies

	mu      sync.Mutex // guards the fields below; a leaf
	lastID  uint64
	waiting map[uint64]*call
}

// call is a question under way.
type call struct {
	link   *link.Link
	answer wire.Command
	done   chan reply // of one
}

type reply struct {
	body []byte
	err  error
}

// New returns a Backend that Run connects.
func New(cfg Config, deps Deps) *Backend {
	b := &Backend{node: deps.Node, dropped: deps.Dropped, waiting: map[uint64]*call{}}
	b.db = dblink.New(cfg.DBServers, cfg.PerEntry, deps.Node, b)
	b.routes = newRoutes(b, cfg.RouteServers)
	return b
}

// Run keeps the links open until ctx ends.
func (b *Backend) Run(ctx context.Context, engine *transport.Engine) {
	var links sync.WaitGroup
	links.Go(func() { b.db.Run(ctx, engine) })
	links.Go(func() { b.routes.run(ctx, engine) })
	links.Wait()
}

// Ready says what is missing; nil when both kinds of servers are linked.
func (b *Backend) Ready() error {
	switch {
	case !b.db.Open():
		return errors.New("no db_proxy")
	case len(b.routes.links()) == 0:
		return errors.New("no route_server")
	}
	return nil
}

// DB asks a db_proxy one of its original commands. im.Unavailable: none is
// linked, or it did not answer.
func (b *Backend) DB(ctx context.Context, req proto.Message, command, answer wire.Command, res proto.Message) error {
	return b.ask(ctx, b.db.General(b.turn.Add(1)), req, command, answer, res)
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
	return b.api(ctx, b.db.General(b.turn.Add(1)), req, command, res)
}

func (b *Backend) api(ctx context.Context, l *link.Link, req proto.Message, command wire.Command, res coded) error {
	if l != nil && !l.Has(link.CapAPI) {
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
	ctx, cancel := context.WithTimeout(ctx, Patience)
	defer cancel()
	body, err := b.exchange(ctx, l, req, command, answer)
	if err != nil {
		return im.Wrap(im.Unavailable, "ask "+command.String(), err)
	}
	if err := proto.Unmarshal(body, res); err != nil {
		return im.Wrap(im.Internal, "read the answer to "+command.String(), err)
	}
	return nil
}

var (
	errNoServer = errors.New("no server is linked")
	errTooMany  = errors.New("too many requests are under way")
)

// exchange sends a question and returns the body of its answer.
func (b *Backend) exchange(
	ctx context.Context, l *link.Link, req proto.Message, command, answer wire.Command,
) ([]byte, error) {
	if l == nil {
		return nil, errNoServer
	}
	c := &call{link: l, answer: answer, done: make(chan reply, 1)}
	b.mu.Lock()
	if len(b.waiting) >= maxWaiting {
		b.mu.Unlock()
		return nil, errTooMany
	}
	b.lastID++
	id := b.lastID
	b.waiting[id] = c
	b.mu.Unlock()
	defer b.forget(id)
	setAttach(req, id)
	if !l.SendMessage(command, 0, req) {
		return nil, errLost
	}
	select {
	case r := <-c.done:
		return r.body, r.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (b *Backend) forget(id uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.waiting, id)
}

// DBPDU is dblink.Handler's.
func (b *Backend) DBPDU(_ *link.Link, pdu wire.PDU) { b.answered(pdu) }

// DBDown is dblink.Handler's.
func (b *Backend) DBDown(l *link.Link) { b.lost(l) }

// answered gives an answer to whoever asked.
func (b *Backend) answered(pdu wire.PDU) {
	id, ok := attachOf(pdu.Body)
	b.mu.Lock()
	c := b.waiting[id]
	if c != nil && c.answer == pdu.Command {
		delete(b.waiting, id)
	} else {
		c = nil
	}
	b.mu.Unlock()
	switch {
	case c != nil:
		c.done <- reply{body: append([]byte(nil), pdu.Body...)}
	case ok:
		b.dropped.WithLabelValues("late_answer").Inc()
	default:
		b.dropped.WithLabelValues("unknown_command").Inc()
	}
}

// lost ends what was asked over a link that is gone.
func (b *Backend) lost(l *link.Link) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for id, c := range b.waiting {
		if c.link == l {
			delete(b.waiting, id)
			c.done <- reply{err: errLost}
		}
	}
}

// attachField is attach_data in every request and answer that has it.
const attachField = 20

// attachSize is that of our attach_data: a number that is never used again.
const attachSize = 8

// setAttach notes the number of a question in it; messages without the field
// are never asked.
func setAttach(m proto.Message, id uint64) {
	field := m.ProtoReflect().Descriptor().Fields().ByNumber(attachField)
	m.ProtoReflect().Set(field, protoreflect.ValueOfBytes(binary.BigEndian.AppendUint64(nil, id)))
}

// attachOf reads the number back from an encoded answer.
func attachOf(body []byte) (id uint64, ok bool) {
	for len(body) > 0 {
		number, kind, n := protowire.ConsumeTag(body)
		if n < 0 {
			return 0, false
		}
		size := protowire.ConsumeFieldValue(number, kind, body[n:])
		if size < 0 {
			return 0, false
		}
		if number == attachField && kind == protowire.BytesType {
			value, _ := protowire.ConsumeBytes(body[n:])
			if len(value) != attachSize {
				return 0, false
			}
			return binary.BigEndian.Uint64(value), true
		}
		body = body[n+size:]
	}
	return 0, false
}
