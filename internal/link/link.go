// Package link owns the connections between servers: heartbeats and
// time-outs, the HELLO by which our servers recognise each other, the proof of
// the shared secret, and reconnecting. What travels on a link belongs to the
// roles.
//
// The first PDU of our servers on every link is a heartbeat that carries
// wire.Mark. The side that accepted the connection answers the mark with HELLO,
// and the side that dialled answers that HELLO with its own. A mark proves
// nothing to the side that dialled: an original file_server returns heartbeats
// byte for byte. So a dialled peer that has sent no HELLO within a second, and
// every peer that begins with anything but a mark, is an original TeamTalk
// server and never gets an extension.
// Source: docs/protocol/wire.md §2; docs/protocol/flows.md §2;
// docs/protocol.md.
package link

import (
	"slices"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"

	"teamtalk/internal/transport"
	"teamtalk/internal/wire"
	"teamtalk/pb/extension"
)

// Capabilities our servers announce to each other.
const (
	CapStore = "store" // db_proxy: operation ids, members and order in 0301
	CapRelay = "relay" // route_server, msg_server: 0783
	CapFiles = "files" // file_server, msg_server: 0584 to 0586, 058A to 058C
	CapAPI   = "api"   // http_msg_server, db_proxy: 07A0 to 07AB
	// CapPresence: http_msg_server and msg_server to route_server: 07AC, 07AD.
	CapPresence = "presence"

	CapUserChanges = "user_changes" // db_proxy: changed_after in 0208

	CapDelivery = "delivery" // db_proxy, msg_server: delivery cursors, 0790 to 0794
	CapState    = "state"    // db_proxy and those that ask it: 0796, 0797
)

// Reasons a link is closed for.
const (
	ReasonTimeout  transport.CloseReason = "link_timeout"  // nothing received for Config.Timeout
	ReasonSecret   transport.CloseReason = "link_secret"   // the peer does not know the shared secret
	ReasonOriginal transport.CloseReason = "link_original" // an original peer where none is allowed
	ReasonBadHello transport.CloseReason = "link_bad_hello"
)

// Handler receives the events of a link, on its event loop: it must not block.
type Handler interface {
	// LinkUp says that the link may be used. Peer and Has are settled.
	LinkUp(l *Link)
	// LinkPDU gets everything but heartbeats and HELLO. The body is valid
	// only during the call.
	LinkPDU(l *Link, pdu wire.PDU)
	// LinkDown is the last event of a link that was up.
	LinkDown(l *Link)
}

// Peer is what the other side said of itself. It is immutable.
type Peer struct {
	ServerID     string // unique for the life of the process; "" for an original
	Role         string // "" for an original
	Capabilities []string
	Credit       uint32 // unanswered requests it accepts; 0 = it did not say
}

// Link is one connection between two servers.
type Link struct {
	// Static after the connection is open.
	node    *Node
	conn    *transport.Conn
	handler Handler
	role    string // that a dialled peer should have
	dialled string // the address we dialled, "" when accepted
	plain   bool   // to or of a push_server: no mark, no HELLO
	nonce   []byte // our challenge
	ended   chan struct{}

	// State belongs to the handler: set in LinkUp.
	State any

	// Owned by the event loop.
	opened time.Time
	up     bool
	greets bool // our HELLO is sent
	proven bool // the peer proved the secret, or none is asked for

	peer atomic.Pointer[Peer]
}

// ID is unique in the life of the process. Safe anywhere.
func (l *Link) ID() uint64 { return l.conn.ID() }

// Addr is the address we dialled, or that of the peer. Safe anywhere.
func (l *Link) Addr() string {
	if l.dialled != "" {
		return l.dialled
	}
	return l.conn.Peer().String()
}

// Peer returns what the other side said of itself; the zero Peer for an
// original. Safe anywhere.
func (l *Link) Peer() Peer {
	if p := l.peer.Load(); p != nil {
		return *p
	}
	return Peer{}
}

// Has reports whether the peer announced the capability. Safe anywhere.
func (l *Link) Has(capability string) bool {
	p := l.peer.Load()
	return p != nil && slices.Contains(p.Capabilities, capability)
}

// Original reports whether the peer is an original TeamTalk server, which
// gets no extension. Safe anywhere.
func (l *Link) Original() bool { return l.peer.Load() == nil }

// Send queues framed PDUs; see transport.Conn.Send. Safe anywhere.
func (l *Link) Send(frames []byte) bool { return l.conn.Send(frames) }

// SendPDU queues one PDU with an encoded body. Safe anywhere.
func (l *Link) SendPDU(command wire.Command, seq uint16, body []byte) bool {
	return l.conn.SendPDU(command, seq, body)
}

// SendMessage encodes and queues one PDU. Safe anywhere.
func (l *Link) SendMessage(command wire.Command, seq uint16, m proto.Message) bool {
	return l.conn.SendMessage(command, seq, m)
}

// Close ends the link after what is queued was written. Safe anywhere.
func (l *Link) Close(reason transport.CloseReason) { l.conn.Close(reason) }

// onPDU runs the greeting and passes everything else on.
func (l *Link) onPDU(pdu wire.PDU) {
	if l.plain {
		l.onPlainPDU(pdu)
		return
	}
	switch pdu.Command {
	case wire.Heartbeat:
		l.onHeartbeat(pdu.Reserved)
	case wire.Hello:
		l.onHello(pdu.Body)
	case wire.HelloProof:
		l.onProof(pdu.Body)
	default:
		if !l.up {
			if l.greets {
				return // ours, but not proven yet: nothing counts
			}
			l.settleOriginal()
		}
		if l.up {
			l.handler.LinkPDU(l, pdu)
		}
	}
}

// onHeartbeat looks for the mark. The side that dialled waits for a HELLO: the
// mark may be its own, returned by an original that echoes heartbeats.
func (l *Link) onHeartbeat(reserved uint16) {
	switch {
	case reserved != wire.Mark && !l.greets:
		l.settleOriginal()
	case reserved == wire.Mark && l.dialled == "":
		l.greet()
	}
}

// onPlainPDU passes everything but heartbeats on, which a push_server echoes.
// Source: docs/protocol/wire.md §2.
func (l *Link) onPlainPDU(pdu wire.PDU) {
	switch {
	case pdu.Command != wire.Heartbeat:
		l.handler.LinkPDU(l, pdu)
	case l.dialled == "":
		l.conn.SendHeartbeat(0)
	}
}

// greet sends our HELLO, once.
func (l *Link) greet() {
	if l.greets {
		return
	}
	l.greets = true
	cfg := &l.node.cfg
	l.conn.SendMessage(wire.Hello, 0, &extension.IMHello{
		Version:      proto.Uint32(1),
		ServerId:     proto.String(cfg.ServerID),
		Role:         proto.String(cfg.Role),
		Capabilities: cfg.Capabilities,
		Credit:       proto.Uint32(cfg.Credit),
		Nonce:        l.nonce,
	})
}

func (l *Link) onHello(body []byte) {
	hello := new(extension.IMHello)
	if err := proto.Unmarshal(body, hello); err != nil {
		l.conn.Close(ReasonBadHello)
		return
	}
	if hello.GetServerId() == l.node.cfg.ServerID {
		// Ourselves, or somebody who mirrors our greeting to make us answer
		// our own challenge.
		l.conn.Close(ReasonBadHello)
		return
	}
	if l.up || l.peer.Load() != nil {
		// What LinkUp found settled must stay so. A peer of ours that was
		// taken for an original, because its HELLO is late, connects again.
		l.node.log.Warn("link refused: HELLO out of place", "peer", l.Addr())
		l.conn.Close(ReasonBadHello)
		return
	}
	l.greet()
	l.peer.Store(&Peer{
		ServerID:     hello.GetServerId(),
		Role:         hello.GetRole(),
		Capabilities: hello.GetCapabilities(),
		Credit:       hello.GetCredit(),
	})
	if shared := l.node.cfg.Secret.Reveal(); shared != "" {
		l.conn.SendMessage(wire.HelloProof, 0, &extension.IMHelloProof{
			Mac: proof([]byte(shared), hello.GetNonce(), l.node.cfg.ServerID),
		})
	} else {
		l.proven = true
	}
	l.settle()
}

func (l *Link) onProof(body []byte) {
	answer := new(extension.IMHelloProof)
	shared, peer := []byte(l.node.cfg.Secret.Reveal()), l.peer.Load()
	if err := proto.Unmarshal(body, answer); err != nil || peer == nil {
		l.conn.Close(ReasonBadHello)
		return
	}
	if len(shared) == 0 {
		return // the peer has a secret and we have none: it will refuse us
	}
	if !proofHolds(answer.GetMac(), shared, l.nonce, peer.ServerID) {
		l.node.log.Warn("link refused: shared secret differs", "peer", l.Addr())
		l.conn.Close(ReasonSecret)
		return
	}
	l.proven = true
	l.settle()
}

// settleOriginal admits a peer that never showed the mark, where that is
// allowed: from loopback, or when originals are configured as neighbours.
func (l *Link) settleOriginal() {
	cfg := &l.node.cfg
	if !cfg.AllowOriginals && !l.conn.Peer().Addr().IsLoopback() {
		l.node.log.Warn("link refused: an original peer, and OriginalNeighbours is not set", "peer", l.Addr())
		l.conn.Close(ReasonOriginal)
		return
	}
	if cfg.Secret.Reveal() != "" && !cfg.AllowOriginals {
		l.conn.Close(ReasonSecret)
		return
	}
	l.proven = true
	l.settle()
}

func (l *Link) settle() {
	if l.up || !l.proven || l.conn.Closing() {
		return
	}
	l.up = true
	l.node.up.WithLabelValues(roleLabel(l.peerRole())).Inc()
	l.node.neighbours.opened(l.neighbour(), l.dialled)
	l.node.log.Info("link up", "peer", l.Addr(), "peer_role", l.peerRole(), "original", l.Original())
	l.handler.LinkUp(l)
}

func (l *Link) onTick(now time.Time) {
	cfg := &l.node.cfg
	if now.Sub(l.conn.LastReceived()) > cfg.Timeout {
		l.node.log.Warn("link closed: nothing received", "peer", l.Addr())
		l.conn.Abort(ReasonTimeout)
		return
	}
	if l.plain {
		if l.dialled != "" && now.Sub(l.conn.LastSent()) >= cfg.Heartbeat {
			l.conn.SendHeartbeat(0)
		}
		return
	}
	if !l.up && now.Sub(l.opened) > originalAfter && !l.greets {
		l.settleOriginal()
	}
	if !l.up && now.Sub(l.opened) > cfg.Timeout {
		l.conn.Abort(ReasonTimeout)
		return
	}
	if now.Sub(l.conn.LastSent()) >= cfg.Heartbeat {
		l.conn.SendHeartbeat(wire.Mark)
	}
}

func (l *Link) onClose(reason transport.CloseReason) {
	defer close(l.ended)
	if !l.up {
		return
	}
	l.up = false
	l.node.up.WithLabelValues(roleLabel(l.peerRole())).Dec()
	l.node.log.Info("link down", "peer", l.Addr(), "peer_role", l.peerRole(), "reason", string(reason))
	l.node.neighbours.lost(l.node.log, l.neighbour(), reason)
	l.handler.LinkDown(l)
}

// peerRole is the role of the peer for logs and metrics. Who is dialled without
// a greeting is a push_server, ours or not.
func (l *Link) peerRole() string {
	if l.plain && l.dialled != "" {
		return "push_server"
	}
	return l.Peer().Role
}

// neighbour is whom the peer counts as when links are lost: the role that was
// dialled, also of an original, which says nothing of itself.
func (l *Link) neighbour() string {
	if l.dialled != "" {
		return l.role
	}
	if l.plain {
		return "peer" // msg_servers and http_msg_servers say nothing of themselves here
	}
	return roleLabel(l.peerRole())
}

// roleLabel keeps the label values a closed set, whatever a peer calls itself.
func roleLabel(role string) string {
	switch role {
	case "login_server", "msg_server", "route_server", "db_proxy", "file_server", "push_server", "http_msg_server":
		return role
	case "":
		return "original"
	}
	return "other"
}
