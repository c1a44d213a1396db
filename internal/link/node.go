package link

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"log/slog"
	mathrand "math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"teamtalk/internal/secret"
	"teamtalk/internal/transport"
	"teamtalk/internal/wire"
)

// Config says who this process is and how its links behave.
type Config struct {
	Role         string
	ServerID     string // "" takes a random one
	Capabilities []string
	Credit       uint32 // unanswered requests accepted per link

	// MaxPDU caps what a dialled peer may send, in bytes; 0 = 64 MiB. A
	// listener has limits of its own.
	MaxPDU int

	// Secret is shared by all our servers; empty asks for no proof.
	Secret secret.Value
	// AllowOriginals admits original TeamTalk peers from other machines.
	AllowOriginals bool

	Heartbeat time.Duration // after the last send; 0 = 5 s
	Timeout   time.Duration // after the last receive; 0 = 30 s
	BackOff   time.Duration // first wait before a new dial; 0 = 250 ms
	BackOffTo time.Duration // longest wait; 0 = 4 s
}

// Deps of a Node. Log and Reg are needed.
type Deps struct {
	Log   *slog.Logger
	Reg   prometheus.Registerer
	Clock func() time.Time // nil: time.Now
}

// Node is this process as a neighbour of other servers.
type Node struct {
	cfg   Config
	log   *slog.Logger
	clock func() time.Time
	up    *prometheus.GaugeVec
	dials *prometheus.CounterVec

	neighbours neighbours
}

// originalAfter is how long a dialled peer may stay silent before it counts
// as an original, which says nothing on its own for five seconds.
const originalAfter = time.Second

// New returns a Node; it opens nothing.
func New(cfg Config, deps Deps) *Node {
	if cfg.ServerID == "" {
		cfg.ServerID = hex.EncodeToString(random(8))
	}
	cfg.Heartbeat = orDefault(cfg.Heartbeat, 5*time.Second)
	cfg.Timeout = orDefault(cfg.Timeout, 30*time.Second)
	cfg.BackOff = orDefault(cfg.BackOff, 250*time.Millisecond)
	cfg.BackOffTo = orDefault(cfg.BackOffTo, 4*time.Second)
	n := &Node{
		cfg: cfg,
		log: deps.Log, clock: deps.Clock,
		up: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "im_links", Help: "Links that are up, by the role of the peer.",
		}, []string{"peer_role"}),
		dials: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "im_link_dials_total", Help: "Attempts to open a link, by result.",
		}, []string{"result"}),
	}
	if n.clock == nil {
		n.clock = time.Now
	}
	deps.Reg.MustRegister(n.up, n.dials)
	return n
}

func orDefault(d, otherwise time.Duration) time.Duration {
	if d == 0 {
		return otherwise
	}
	return d
}

// ServerID names this process to its neighbours.
func (n *Node) ServerID() string { return n.cfg.ServerID }

// Accept returns the handler of a listener for other servers.
func (n *Node) Accept(h Handler) transport.Handler { return &front{node: n, handler: h} }

// AcceptPlain is Accept for a push_server: no HELLO is exchanged, so every peer
// counts as an original, and only its address says whether it may connect.
func (n *Node) AcceptPlain(h Handler) transport.Handler {
	return &front{node: n, handler: h, plain: true}
}

// KeepPlain is Keep for a link to a push_server, which never gets an extension:
// an original one closes the link on a command that it does not know.
// Source: docs/protocol/commands.md, "Rules"; docs/protocol/defects.md E8.
func (n *Node) KeepPlain(ctx context.Context, engine *transport.Engine, addr string, h Handler) {
	n.keep(ctx, engine, "push_server", addr, h, true)
}

// Keep holds one link to addr, where a server of that role should be, open
// until ctx ends: it dials, waits for the end of the link, and dials again after
// a growing, jittered wait. An address that cannot be resolved is tried again
// like any other. The log says at once and then every minute who is missing.
func (n *Node) Keep(ctx context.Context, engine *transport.Engine, role, addr string, h Handler) {
	n.keep(ctx, engine, role, addr, h, false)
}

// KeepAll keeps a link to each of addrs, one to an address named twice.
func (n *Node) KeepAll(ctx context.Context, engine *transport.Engine, role string, addrs []string, h Handler) {
	var keepers sync.WaitGroup
	for _, addr := range slices.Compact(slices.Sorted(slices.Values(addrs))) {
		keepers.Go(func() { n.Keep(ctx, engine, role, addr, h) })
	}
	keepers.Wait()
}

func (n *Node) keep(ctx context.Context, engine *transport.Engine, role, addr string, h Handler, plain bool) {
	wait := n.cfg.BackOff
	limits := transport.LinkLimits
	if n.cfg.MaxPDU > 0 {
		limits.MaxPDU = n.cfg.MaxPDU
	}
	for ctx.Err() == nil {
		f := &front{node: n, handler: h, role: role, dialled: addr, ended: make(chan struct{}), plain: plain}
		started := n.clock()
		conn, err := engine.Dial(ctx, addr, f, limits)
		if err != nil {
			n.dials.WithLabelValues("failed").Inc()
			if ctx.Err() == nil {
				n.neighbours.away(n.log, n.clock(), role, addr, err)
			}
		} else {
			n.dials.WithLabelValues("opened").Inc()
			select {
			case <-f.ended:
			case <-ctx.Done():
				conn.Close(transport.ReasonStopping)
				return
			}
		}
		if n.clock().Sub(started) > n.cfg.BackOffTo {
			wait = n.cfg.BackOff
		}
		jittered := wait/2 + mathrand.N(wait)
		select {
		case <-time.After(jittered):
		case <-ctx.Done():
			return
		}
		wait = min(2*wait, n.cfg.BackOffTo)
	}
}

// front turns the events of a connection into those of a link.
type front struct {
	node    *Node
	handler Handler
	role    string // dialled only
	dialled string
	plain   bool
	ended   chan struct{} // dialled only
}

func (f *front) OnOpen(c *transport.Conn) {
	ended := f.ended
	if ended == nil {
		ended = make(chan struct{})
	}
	l := &Link{
		node: f.node, conn: c, handler: f.handler, role: f.role, dialled: f.dialled, plain: f.plain,
		nonce: random(16), ended: ended, opened: f.node.clock(),
	}
	c.State = l
	switch {
	case !f.plain:
		c.SendHeartbeat(wire.Mark)
		return
	case f.dialled != "":
		c.SendHeartbeat(0)
	}
	l.proven = true
	l.settle()
}

func (f *front) OnPDU(c *transport.Conn, pdu wire.PDU)   { c.State.(*Link).onPDU(pdu) }
func (f *front) OnTick(c *transport.Conn, now time.Time) { c.State.(*Link).onTick(now) }
func (f *front) OnClose(c *transport.Conn, reason transport.CloseReason) {
	c.State.(*Link).onClose(reason)
}

func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return b
}

// proof shows that its maker knows the secret, and who he says he is.
func proof(secret, nonce []byte, serverID string) []byte {
	mac := hmac.New(sha256.New, secret)
	mac.Write(nonce)
	mac.Write([]byte(serverID))
	return mac.Sum(nil)
}

func proofHolds(mac, secret, nonce []byte, serverID string) bool {
	return hmac.Equal(mac, proof(secret, nonce, serverID))
}
