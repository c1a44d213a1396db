package routeserver

import (
	"io"

	"teamtalk/internal/config"
)

// ConfigFile is the name of the configuration in the working folder.
const ConfigFile = "routeserver.conf"

// Keys are the keys of routeserver.conf: the original's first, then ours.
var Keys = config.Join(config.Keys{
	{
		Name: "ListenIP", Kind: config.IPList, Required: true, Sample: "0.0.0.0",
		Help: "Addresses to listen on for msg_servers.",
	},
	{
		Name: "ListenMsgPort", Kind: config.Port, Required: true, Sample: "8200",
		Help: "Port for msg_servers.",
	},
}, config.AcceptKeys, config.LinkKeys, config.TraceKeys, config.ProcessKeys)

// Config is what routeserver.conf says.
type Config struct {
	config.Process
	config.Links

	ListenIPs  []string
	ListenPort int
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
	process, processErr := f.Process("ListenMsgPort")
	links, linksErr := f.Links()
	if err := config.Gather(processErr, linksErr); err != nil {
		return Config{}, err
	}
	return Config{
		Process:    process,
		Links:      links,
		ListenIPs:  f.List("ListenIP"),
		ListenPort: f.Int("ListenMsgPort"),
	}, nil
}
