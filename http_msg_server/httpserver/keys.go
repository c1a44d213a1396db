package httpserver

import (
	"io"
	"time"

	"teamtalk/client/textcrypt"
	"teamtalk/internal/config"
	"teamtalk/internal/secret"
)

// ConfigFile is the name of the configuration in the working folder.
const ConfigFile = "httpmsgserver.conf"

// Keys are the keys of httpmsgserver.conf: the original's first, then ours.
var Keys = config.Join(config.Keys{
	{
		Name: "ListenIP", Kind: config.IPList, Required: true, Sample: "127.0.0.1",
		Help: "Addresses to listen on for back ends. HTTP is not encrypted: beyond this machine, put a proxy with TLS " +
			"before it.",
	},
	{
		Name: "ListenPort", Kind: config.Port, Required: true, Sample: "8400",
		Help: "Port for back ends.",
	},
	{
		Name: "ConcurrentDBConnCnt", Kind: config.Int, Default: "2", Min: 1, Max: 1000, Sample: "4",
		Help: "Connections to each db_proxy.",
	},
	{
		Name: "DBServer", Kind: config.Servers, Sample: "127.0.0.1:10600",
		Help: "The db_proxy servers, numbered from 1.",
	},
	{
		Name: "RouteServer", Kind: config.Servers, Sample: "127.0.0.1:8200",
		Help: "The route_servers, numbered from 1: over them, messages and news of groups reach who is on-line.",
	},
	{
		Name: "PushServer", Kind: config.Servers,
		Help: "The push_servers, numbered from 1. Without one, phones get no notifications of messages sent here.",
	},
	{
		Name: "aesKey", Kind: config.Secret, Fixed: true, Min: 32, Max: 32,
		Help: "Key that texts are encrypted with, the same as in msgserver.conf and in the clients. Without it, the one " +
			"that all original clients have.",
	},
	{
		Name: "QueryPeers", Kind: config.CIDRList, Default: "127.0.0.0/8;::1/128",
		Help: "Addresses that may use the original's /query/CreateGroup and /query/ChangeMembers, which know no keys; " +
			"others are closed without an answer.",
	},
	{
		Name: "QueryAppKey", Kind: config.Secret,
		Help: "What app_key must be in requests to /query/…; without it, anything will do, as in the original.",
	},
	{
		Name: "SystemUser", Kind: config.String, Default: "system", Max: 32, Min: 1,
		Help: "Name of the account that messages without a from_user_id come from. It is made when it is first needed, " +
			"with a password that nobody knows.",
	},
	{
		Name: "MaxBodyBytes", Kind: config.Bytes, Default: "1MiB", Min: 16 << 10, Max: 64 << 20,
		Help: "Longest body of a request; a longer one is answered 413.",
	},
	{
		Name: "MaxHttpConns", Kind: config.Int, Default: "4096", Min: 1, Max: 1_000_000,
		Help: "Most connections of back ends at a time; more wait until one ends.",
	},
}, config.LinkKeys, config.TraceKeys, config.ProcessKeys)

// Config is what httpmsgserver.conf says. Servers are host:port.
type Config struct {
	config.Process
	config.Links // without AllowedPeers: other servers do not connect to this role

	ListenIPs           []string
	ListenPort          int
	ConcurrentDBConnCnt int
	DBServers           []string
	RouteServers        []string
	PushServers         []string
	AESKey              secret.Value // 32 bytes
	QueryPeers          config.Peers
	QueryAppKey         secret.Value // empty: any
	SystemUser          string
	MaxBodyBytes        int
	MaxHTTPConns        int

	patience time.Duration // of tests: how long an answer of another server may take; 0 is backend.Patience
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
	if err := config.Gather(processErr, linksErr); err != nil {
		return Config{}, err
	}
	c := Config{
		Process:             process,
		Links:               links,
		ListenIPs:           f.List("ListenIP"),
		ListenPort:          f.Int("ListenPort"),
		ConcurrentDBConnCnt: f.Int("ConcurrentDBConnCnt"),
		DBServers:           f.List("DBServer"),
		RouteServers:        f.List("RouteServer"),
		PushServers:         f.List("PushServer"),
		AESKey:              f.Secret("aesKey"),
		QueryPeers:          f.Prefixes("QueryPeers"),
		QueryAppKey:         f.Secret("QueryAppKey"),
		SystemUser:          f.String("SystemUser"),
		MaxBodyBytes:        f.Int("MaxBodyBytes"),
		MaxHTTPConns:        f.Int("MaxHttpConns"),
	}
	if c.AESKey.Reveal() == "" {
		c.AESKey = secret.New(textcrypt.StandardKey)
	}
	return c, nil
}
