package config

import (
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"time"
)

// ProcessKeys are the keys every role has for its logs and its health port.
var ProcessKeys = Keys{
	{
		Name: "HealthListen", Kind: Addr,
		Help: "Address of the HTTP port for /healthz, /readyz, /metrics and /debug/pprof. Without it, the " +
			"main port + 50 on 127.0.0.1. Nothing protects it: keep it off public addresses.",
	},
	{
		Name: "LogLevel", Kind: String, Default: "info", Enum: []string{"debug", "info", "warn", "error"},
		Help: "Least important log line written to standard error.",
	},
	{
		Name: "LogFormat", Kind: String, Default: "text", Enum: []string{"text", "json"},
		Help: "Form of the log lines.",
	},
	{
		Name: "ShutdownTimeout", Kind: Duration, Default: "10s", Min: 1e9, Max: 600e9,
		Help: "Longest time that work under way may take after SIGTERM.",
	},
}

// LinkKeys are the keys of every role for connections between servers.
var LinkKeys = Keys{
	{
		Name: "LinkSecret", Kind: Secret, Min: 16, Max: 1024,
		Help: "Secret shared by all servers of one installation; they prove to each other that they know it. " +
			"Required as soon as AllowedPeers reaches beyond this machine, unless OriginalNeighbours is 1.",
	},
	{
		Name: "OriginalNeighbours", Kind: Bool, Default: "0",
		Help: "1 when servers of the original TeamTalk are connected to this one. They cannot prove a secret, " +
			"so the address list alone protects the links.",
	},
	{
		Name: "MaxLinkPDU", Kind: Bytes, Default: "64MiB", Min: 1 << 20, Max: 256 << 20,
		Help: "Largest PDU taken from another server, header included; a larger one closes the link.",
	},
	{
		Name: "LinkBuffer", Kind: Bytes, Default: "256MiB", Min: 1 << 20, Max: 4 << 30,
		Help: "Most bytes that may wait to be sent on one link; a link that is further behind is closed.",
	},
}

// AcceptKeys are the keys of the roles that other servers connect to.
var AcceptKeys = Keys{
	{
		Name: "AllowedPeers", Kind: CIDRList, Default: "127.0.0.0/8;::1/128",
		Help: "Addresses that other servers may connect from; others are closed at once.",
	},
}

// Process is what ProcessKeys say.
type Process struct {
	HealthListen    string // host:port
	LogLevel        slog.Level
	LogJSON         bool
	ShutdownTimeout time.Duration
}

// Links is what LinkKeys and AcceptKeys say.
type Links struct {
	Secret             Hidden // empty: peers are not authenticated
	OriginalNeighbours bool
	MaxPDU             int            // bytes
	Buffer             int            // bytes
	AllowedPeers       []netip.Prefix // nil in a role that accepts no links
}

// healthOffset is the distance of the health port from the main port.
const healthOffset = 50

// Process reads ProcessKeys; mainPort names the Port key that the health port
// follows.
func (f *File) Process(mainPort string) (Process, error) {
	p := Process{
		HealthListen:    f.String("HealthListen"),
		LogJSON:         f.String("LogFormat") == "json",
		ShutdownTimeout: f.Duration("ShutdownTimeout"),
	}
	if err := p.LogLevel.UnmarshalText([]byte(f.String("LogLevel"))); err != nil {
		return Process{}, f.Fail("LogLevel", "%v", err)
	}
	if p.HealthListen == "" {
		port := f.Int(mainPort) + healthOffset
		if port > 65535 {
			return Process{}, f.Fail("HealthListen", "is missing, and %s + %d is no port", mainPort, healthOffset)
		}
		p.HealthListen = net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	}
	return p, nil
}

// Links reads LinkKeys and, where the table has them, AcceptKeys. Peers beyond
// this machine must be authenticated, or be declared unable to.
func (f *File) Links() (Links, error) {
	l := Links{
		Secret:             f.Secret("LinkSecret"),
		OriginalNeighbours: f.Bool("OriginalNeighbours"),
		MaxPDU:             f.Int("MaxLinkPDU"),
		Buffer:             f.Int("LinkBuffer"),
	}
	if f.keys.find("AllowedPeers") == nil {
		return l, nil
	}
	l.AllowedPeers = f.Prefixes("AllowedPeers")
	for _, prefix := range l.AllowedPeers {
		if l.Secret == "" && !l.OriginalNeighbours && !prefix.Addr().IsLoopback() {
			return Links{}, f.Fail("LinkSecret",
				"is missing; it is required because AllowedPeers has %s (or set OriginalNeighbours=1)", prefix)
		}
	}
	return l, nil
}

// Gather joins the complaints of several checks into one Errors by line. It
// returns nil when there are none; errors of other kinds stand as they are.
func Gather(errs ...error) error {
	var complaints Errors
	for _, err := range errs {
		if err == nil {
			continue
		}
		e, ok := errors.AsType[*Error](err)
		if !ok {
			return errors.Join(errs...)
		}
		complaints = append(complaints, e)
	}
	if len(complaints) == 0 {
		return nil
	}
	return complaints.sorted()
}
