package loginserver

import (
	"io"
	"strings"

	"teamtalk/internal/config"
)

// ConfigFile is the name of the configuration in the working folder.
const ConfigFile = "loginserver.conf"

// Keys are the keys of loginserver.conf: the original's first, then ours.
var Keys = config.Join(config.Keys{
	{
		Name: "ClientListenIP", Kind: config.IPList, Sample: "0.0.0.0",
		Help: "Addresses to listen on for clients that ask for a msg_server over TCP. Without it, there is no such port.",
	},
	{
		Name: "ClientPort", Kind: config.Port, Default: "8008",
		Help: "Port for clients that ask over TCP.",
	},
	{
		Name: "HttpListenIP", Kind: config.IPList, Required: true, Sample: "0.0.0.0",
		Help: "Addresses to listen on for clients that ask for a msg_server over HTTP.",
	},
	{
		Name: "HttpPort", Kind: config.Port, Required: true, Sample: "8080",
		Help: "Port for clients that ask over HTTP: they fetch http://HOST:PORT/msg_server.",
	},
	{
		Name: "MsgServerListenIP", Kind: config.IPList, Required: true, Sample: "0.0.0.0",
		Help: "Addresses to listen on for msg_servers.",
	},
	{
		Name: "MsgServerPort", Kind: config.Port, Required: true, Sample: "8100",
		Help: "Port for msg_servers.",
	},
	{
		Name: "msfs", Kind: config.URL, Required: true, Sample: "http://127.0.0.1:8700/",
		Help: "Where clients upload and fetch images, told to them; they must be able to reach it. " +
			"A / is put at its end where there is none.",
	},
	{
		Name: "discovery", Kind: config.URL, Sample: "http://127.0.0.1/api/discovery",
		Help: "Where clients fetch the entries of their discovery page, told to them.",
	},
}, config.AcceptKeys, config.LinkKeys, config.ProcessKeys)

// Config is what loginserver.conf says.
type Config struct {
	config.Process
	config.Links

	ClientListenIPs    []string // empty: no TCP port for clients
	ClientPort         int
	HTTPListenIPs      []string
	HTTPPort           int
	MsgServerListenIPs []string
	MsgServerPort      int
	MSFS               string // ends with /
	Discovery          string // may be empty
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
	process, processErr := f.Process("HttpPort")
	links, linksErr := f.Links()
	if err := config.Gather(processErr, linksErr); err != nil {
		return Config{}, err
	}
	return Config{
		Process:            process,
		Links:              links,
		ClientListenIPs:    f.List("ClientListenIP"),
		ClientPort:         f.Int("ClientPort"),
		HTTPListenIPs:      f.List("HttpListenIP"),
		HTTPPort:           f.Int("HttpPort"),
		MsgServerListenIPs: f.List("MsgServerListenIP"),
		MsgServerPort:      f.Int("MsgServerPort"),
		MSFS:               strings.TrimSuffix(f.String("msfs"), "/") + "/",
		Discovery:          f.String("discovery"),
	}, nil
}
