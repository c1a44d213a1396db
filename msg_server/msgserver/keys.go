package msgserver

import (
	"io"
	"time"

	"teamtalk/internal/config"
	"teamtalk/internal/secret"
)

// ConfigFile is the name of the configuration in the working folder.
const ConfigFile = "msgserver.conf"

// Keys are the keys of msgserver.conf: the original's first, then ours.
var Keys = config.Join(config.Keys{
	{
		Name: "ListenIP", Kind: config.IPList, Required: true, Sample: "0.0.0.0",
		Help: "Addresses to listen on for clients.",
	},
	{
		Name: "ListenPort", Kind: config.Port, Required: true, Sample: "8000",
		Help: "Port for clients; login_server tells it to them.",
	},
	{
		Name: "ConcurrentDBConnCnt", Kind: config.Int, Default: "10", Min: 1, Max: 1000, Sample: "2",
		Help: "Connections to each db_proxy.",
	},
	{
		Name: "DBServer", Kind: config.Servers, Min: 1, Sample: "127.0.0.1:10600",
		Help: "The db_proxy servers, numbered from 1. Entries with the same address count as one server.",
	},
	{
		Name: "LoginServer", Kind: config.Servers, Sample: "127.0.0.1:8100",
		Help: "The login_servers this server announces itself to, numbered from 1. Nobody can log in " +
			"while none is connected.",
	},
	{
		Name: "RouteServer", Kind: config.Servers, Sample: "127.0.0.1:8200",
		Help: "The route_servers, numbered from 1. Nobody can log in while none is connected.",
	},
	{
		Name: "PushServer", Kind: config.Servers,
		Help: "The push_servers, numbered from 1. Without one, phones get no push notifications.",
	},
	{
		Name: "FileServer", Kind: config.Servers,
		Help: "The file_servers, numbered from 1; the port is the one for msg_server (8601). Without one, " +
			"files cannot be sent.",
	},
	{
		Name: "FileTokenSecret", Kind: config.Secret, Min: 16, Max: 1024,
		Help: "Secret shared with the file_servers; it signs what lets a client send and fetch files of messages over " +
			"HTTP. Without it, there are no such files.",
	},
	{
		Name: "IpAddr1", Kind: config.Host, Required: true, Sample: "127.0.0.1",
		Help: "Address under which clients reach this server; login_server tells it to them.",
	},
	{
		Name: "IpAddr2", Kind: config.Host,
		Help: "Second address told to clients. Without it, IpAddr1.",
	},
	{
		Name: "MaxConnCnt", Kind: config.Int, Default: "100000", Min: 1, Max: 10_000_000,
		Help: "Most client connections at a time. The limit in force is this or 80 % of the files the process " +
			"may open, whichever is less; it is announced to login_server.",
	},
	{
		Name: "aesKey", Kind: config.Secret, Fixed: true, Required: true, Min: 32, Max: 32,
		Sample: "12345678901234567890123456789012",
		Help:   "Key of the texts in push notifications, the same as in dbproxyserver.conf and in the clients.",
	},
	{
		Name: "MaxClientPDU", Kind: config.Bytes, Default: "1MiB", Min: 16 << 10, Max: 16 << 20,
		Help: "Largest PDU taken from a client, header included; a larger one closes the connection.",
	},
	{
		Name: "MaxTextBytes", Kind: config.Bytes, Default: "4096", Min: 1, Max: 60_000,
		Help: "Longest text of one message, as sent: encrypted and in Base64.",
	},
	{
		Name: "MaxMsgsPerSec", Kind: config.Int, Default: "0", Min: 0, Max: 1_000_000,
		Help: "Most messages a second from one connection; 0 for no limit. The original dropped what came above 20.",
	},
	{
		Name: "MaxInFlight", Kind: config.Int, Default: "256", Min: 1, Max: 1_000_000,
		Help: "Most messages of one connection that may be waiting for their acknowledgement; one more closes it.",
	},
	{
		Name: "MaxQueries", Kind: config.Int, Default: "256", Min: 1, Max: 1_000_000,
		Help: "Most questions of one connection, such as for history, that may be waiting for their answer; one more " +
			"closes it.",
	},
	{
		Name: "SlowConsumerBytes", Kind: config.Bytes, Default: "16MiB", Min: 64 << 10, Max: 1 << 30,
		Help: "Most bytes that may wait to be sent to one client; more closes the connection. Not less than MaxClientPDU.",
	},
	{
		Name: "SlowConsumerTime", Kind: config.Duration, Default: "10s", Min: int64(time.Second), Max: int64(time.Hour),
		Help: "Longest time that a client may take nothing of what waits for it; then the connection is closed.",
	},
	{
		Name: "HttpListenIP", Kind: config.IPList, Obsolete: true,
		Help: "clients ask login_server over HTTP",
	},
	{
		Name: "HttpListenPort", Kind: config.Port, Obsolete: true,
		Help: "clients ask login_server over HTTP",
	},
}, config.LinkKeys, config.TraceKeys, config.ProcessKeys)

// Config is what msgserver.conf says. Servers are host:port, in the order of
// their numbers.
type Config struct {
	config.Process
	config.Links // without AllowedPeers: other servers do not connect to this role

	ListenIPs  []string
	ListenPort int

	ConcurrentDBConnCnt int // connections to each db_proxy
	DBServers           []string
	LoginServers        []string
	RouteServers        []string
	PushServers         []string
	FileServers         []string
	FileTokenSecret     secret.Value // empty: no files of messages

	IPAddr1, IPAddr2 string // announced to clients
	MaxConnCnt       int
	AESKey           secret.Value // 32 bytes

	MaxClientPDU      int // bytes
	MaxTextBytes      int
	MaxMsgsPerSec     int // per connection; 0 = no limit
	MaxInFlight       int // messages per connection
	MaxQueries        int // unanswered questions per connection
	SlowConsumerBytes int
	SlowConsumerTime  time.Duration
}

// LoadConfig reads the file at path. What is wrong with it is a config.Errors.
func LoadConfig(path string, options ...config.Option) (Config, error) {
	return bind(config.Load(path, Keys, options...))
}

// ParseConfig is LoadConfig for a text; name is what complaints call it.
func ParseConfig(r io.Reader, name string) (Config, error) {
	return bind(config.Parse(r, name, Keys))
}

// bind makes a Config of what was read, or passes on what was wrong with it.
func bind(f *config.File, err error) (Config, error) {
	if err != nil {
		return Config{}, err
	}
	process, processErr := f.Process("ListenPort")
	links, linksErr := f.Links()
	c := Config{
		Process:             process,
		Links:               links,
		ListenIPs:           f.List("ListenIP"),
		ListenPort:          f.Int("ListenPort"),
		ConcurrentDBConnCnt: f.Int("ConcurrentDBConnCnt"),
		DBServers:           f.List("DBServer"),
		LoginServers:        f.List("LoginServer"),
		RouteServers:        f.List("RouteServer"),
		PushServers:         f.List("PushServer"),
		FileServers:         f.List("FileServer"),
		FileTokenSecret:     f.Secret("FileTokenSecret"),
		IPAddr1:             f.String("IpAddr1"),
		IPAddr2:             f.String("IpAddr2"),
		MaxConnCnt:          f.Int("MaxConnCnt"),
		AESKey:              f.Secret("aesKey"),
		MaxClientPDU:        f.Int("MaxClientPDU"),
		MaxTextBytes:        f.Int("MaxTextBytes"),
		MaxMsgsPerSec:       f.Int("MaxMsgsPerSec"),
		MaxInFlight:         f.Int("MaxInFlight"),
		MaxQueries:          f.Int("MaxQueries"),
		SlowConsumerBytes:   f.Int("SlowConsumerBytes"),
		SlowConsumerTime:    f.Duration("SlowConsumerTime"),
	}
	if c.IPAddr2 == "" {
		c.IPAddr2 = c.IPAddr1
	}
	var slowErr error
	if c.SlowConsumerBytes < c.MaxClientPDU {
		slowErr = f.Fail("SlowConsumerBytes", "is less than MaxClientPDU (%d bytes)", c.MaxClientPDU)
	}
	if err := config.Gather(processErr, linksErr, slowErr); err != nil {
		return Config{}, err
	}
	return c, nil
}
