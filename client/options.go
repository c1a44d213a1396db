package client

import (
	"cmp"
	"crypto/md5"
	"encoding/hex"
	"time"

	"teamtalk/internal/im"
	"teamtalk/internal/wire"
)

// Capabilities that a client can announce in the log-in (docs/protocol.md). A
// server grants a subset; without a grant the client behaves like an old one.
const (
	CapClientMsgID = "client_msg_id" // repeats with the same client_msg_id find the first msg_id
	CapNack        = "nack"          // 0x0381 instead of silence
	CapDelivered   = "delivered"     // what this terminal has not acknowledged is sent to it again
	CapMove        = "move"          // 0x0181
	CapFiles       = "files"         // 0x0581 to 0x0583: files of messages over HTTP
)

// AllCapabilities returns every capability this package understands.
func AllCapabilities() []string {
	return []string{CapClientMsgID, CapNack, CapDelivered, CapMove, CapFiles}
}

// Handler receives what the server pushes, in the order of arrival. It is
// called on the goroutine that reads the connection: it must not block and
// must not call methods of the Client that wait for a reply. The event and
// what it points to are valid until Handler returns. It may be called before
// Dial returns.
type Handler func(c *Client, e Event)

// Options say where to connect and how to behave. Only Addr or LoginURL is
// required.
type Options struct {
	Addr     string // host:port of a msg_server
	LoginURL string // asked when Addr is empty; see Locate
	// LocalAddr is the source address, "ip" or "ip:port"; empty lets the
	// system choose. One address reaches one server about 28,000 times.
	LocalAddr string

	User     string
	Password string
	// PasswordMD5 is sent instead of MD5(Password) when not empty: 32
	// lowercase hex digits.
	PasswordMD5 string

	Profile      Profile       // zero: Native
	ClientType   im.ClientType // 0: the profile's
	Version      string        // client_version; default: the profile's name
	Capabilities []string      // announced at log-in
	DeviceID     string        // names this terminal; empty: none

	Handler Handler // nil: pushes are dropped
	// OnPDU sees every received PDU before anything else does, for tests and
	// traces, under the rules of Handler. May be nil.
	OnPDU func(wire.PDU)

	// NoReceipts: do not acknowledge received single messages.
	NoReceipts bool
	// StayAfterKick: do not close after 0107, to see what the server does.
	StayAfterKick bool

	// Heartbeat is the interval of heartbeats; 0 is the profile's, negative
	// sends none and never takes the connection for dead.
	Heartbeat time.Duration
	// AckTimeout bounds the wait for the answer to a SendAsync; 0 is 10 s.
	// Requests with a context are bounded by it alone.
	AckTimeout time.Duration
	// MaxPending bounds unanswered requests; 0 is 1,024.
	MaxPending int
	// MaxQueued bounds what waits to be written, in bytes; 0 is 4 MiB.
	MaxQueued int

	// arrived is what a Session knows from one connection to the next. It is
	// owned by the reader of the connection in use.
	arrived map[conversationKey]im.MsgID
}

// withDefaults fills what is zero.
func (o Options) withDefaults() Options {
	if o.Profile.Name == "" {
		o.Profile = Native()
	}
	o.ClientType = cmp.Or(o.ClientType, o.Profile.ClientType)
	o.Version = cmp.Or(o.Version, o.Profile.Name)
	o.Heartbeat = cmp.Or(o.Heartbeat, o.Profile.Heartbeat)
	o.AckTimeout = cmp.Or(o.AckTimeout, 10*time.Second)
	o.MaxPending = cmp.Or(o.MaxPending, 1024)
	o.MaxQueued = cmp.Or(o.MaxQueued, 4<<20)
	if o.PasswordMD5 == "" {
		o.PasswordMD5 = PasswordMD5(o.Password)
	}
	return o
}

// PasswordMD5 returns the form of a password that goes over the wire.
// Source: docs/protocol/wire.md §7.
func PasswordMD5(password string) string {
	sum := md5.Sum([]byte(password))
	return hex.EncodeToString(sum[:])
}
