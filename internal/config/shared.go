package config

import (
	"errors"
	"log/slog"
	"maps"
	"math"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"time"

	"teamtalk/internal/secret"
)

// ProcessKeys are the keys every role has for its logs and its health port.
var ProcessKeys = Keys{
	{
		Name: "HealthListen", Kind: Addr,
		Help: "Address of the HTTP port for /healthz, /readyz, /metrics, /trace and /debug/pprof. Without it, the " +
			"main port + 50 on 127.0.0.1. Nothing protects it (but /trace): keep it off public addresses.",
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
		Name: "ShutdownTimeout", Kind: Duration, Default: "30s", Min: 1e9, Max: 600e9,
		Help: "Longest time a stop may take after SIGTERM; then the process ends in the middle of it with exit code 1.",
	},
}

// TraceKeys are the keys of the roles that messages pass.
var TraceKeys = Keys{
	{
		Name: "TraceEvents", Kind: Int, Default: "131072", Min: 0, Max: 1 << 24,
		Help: "How many events of messages are remembered for \"teamtalk trace\", 64 bytes each; 0 for none. A message " +
			"makes three to six events, and one more for every terminal it is delivered to.",
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
}

// AcceptKeys are the keys of the roles that other servers connect to.
var AcceptKeys = Keys{
	{
		Name: "AllowedPeers", Kind: CIDRList, Default: "127.0.0.0/8;::1/128",
		Help: "Addresses that other servers may connect from; others are closed at once.",
	},
}

// Process is what ProcessKeys say. Roles embed it in their Config.
type Process struct {
	HealthListen    string // host:port
	LogLevel        slog.Level
	LogJSON         bool
	ShutdownTimeout time.Duration
	TraceEvents     int    // 0 in a role without TraceKeys
	Warnings        Errors // about the file, for the log

	file *File
}

// Renew takes what may change while the process runs from its configuration
// file, which was read again: the secrets. It returns the keys of those that
// are others now, and of everything else that differs from the start and counts
// at the next one; the log level, which the caller takes, is not among them. A
// secret that is new, or gone, counts at the next start, too.
func (p Process) Renew(next Process) (renewed, later []string) {
	for _, name := range slices.Sorted(maps.Keys(union(p.file.values, next.file.values))) {
		was, is := p.file.values[name], next.file.values[name]
		held, isSecret := was.(secret.Value)
		now, _ := is.(secret.Value)
		switch {
		case name == "LogLevel":
		case isSecret && !p.file.declared(name).Fixed && held.Replace(now):
			renewed = append(renewed, name)
		case isSecret && held.Reveal() != now.Reveal(), !isSecret && !reflect.DeepEqual(was, is):
			later = append(later, name)
		}
	}
	return renewed, later
}

func union(a, b map[string]any) map[string]any {
	all := maps.Clone(a)
	maps.Copy(all, b)
	return all
}

// ProcessConfig lets the start of any role read the part all roles share.
func (p Process) ProcessConfig() Process { return p }

// Links is what LinkKeys and AcceptKeys say. Roles embed it in their Config.
type Links struct {
	LinkSecret         secret.Value // empty: peers are not authenticated
	OriginalNeighbours bool
	MaxLinkPDU         int   // bytes
	AllowedPeers       Peers // nil in a role that accepts no links
}

// Peers are the address ranges other servers may connect from.
type Peers []netip.Prefix

// Allow reports whether addr is in one of the ranges. IPv4 addresses in their
// IPv6 form count as IPv4.
func (p Peers) Allow(addr netip.Addr) bool {
	addr = addr.Unmap().WithZone("")
	return slices.ContainsFunc(p, func(prefix netip.Prefix) bool { return prefix.Contains(addr) })
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
		Warnings:        f.warnings,
		file:            f,
	}
	if err := p.LogLevel.UnmarshalText([]byte(f.String("LogLevel"))); err != nil {
		return Process{}, f.Fail("LogLevel", "%v", err)
	}
	if f.keys.find("TraceEvents") != nil {
		p.TraceEvents = f.Int("TraceEvents")
	}
	if p.HealthListen == "" {
		port := f.Int(mainPort) + healthOffset
		if port > math.MaxUint16 {
			return Process{}, f.Fail("HealthListen", "is missing, and %s + %d is no port", mainPort, healthOffset)
		}
		p.HealthListen = join("127.0.0.1", strconv.Itoa(port))
	}
	return p, nil
}

// Links reads LinkKeys and, where the table has them, AcceptKeys. Peers beyond
// this machine must be authenticated, or be declared unable to.
func (f *File) Links() (Links, error) {
	l := Links{
		LinkSecret:         f.Secret("LinkSecret"),
		OriginalNeighbours: f.Bool("OriginalNeighbours"),
		MaxLinkPDU:         f.Int("MaxLinkPDU"),
	}
	if f.keys.find("AllowedPeers") == nil {
		return l, nil
	}
	l.AllowedPeers = f.Prefixes("AllowedPeers")
	for _, prefix := range l.AllowedPeers {
		if l.LinkSecret.Reveal() == "" && !l.OriginalNeighbours && !prefix.Addr().IsLoopback() {
			return Links{}, f.Fail("LinkSecret",
				"is missing; it is required because AllowedPeers has %s (or set OriginalNeighbours=1)", prefix)
		}
	}
	return l, nil
}

// Gather joins the complaints of several checks into one Errors, by line. It
// returns nil when there are none.
func Gather(errs ...error) error {
	var complaints Errors
	for _, err := range errs {
		if e, ok := errors.AsType[*Error](err); ok {
			complaints = append(complaints, e)
		} else if err != nil {
			complaints = append(complaints, &Error{Reason: err.Error()})
		}
	}
	if len(complaints) == 0 {
		return nil
	}
	complaints.sort()
	return complaints
}
