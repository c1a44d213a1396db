package pushserver

import (
	"io"

	"teamtalk/internal/config"
	"teamtalk/internal/secret"
	"teamtalk/push_server/internal/fcm"
)

// ConfigFile is the name of the configuration in the working folder.
const ConfigFile = "pushserver.conf"

// Keys are the keys of pushserver.conf: the original's first, then ours.
var Keys = config.Join(config.Keys{
	{
		Name: "ListenIP", Kind: config.IPList, Required: true, Sample: "127.0.0.1",
		Help: "Addresses to listen on for msg_servers and http_msg_servers.",
	},
	{
		Name: "ListenPort", Kind: config.Port, Required: true, Sample: "8500",
		Help: "Port for msg_servers and http_msg_servers.",
	},
	{
		Name: "CertPath", Kind: config.String,
		Help: "PEM file with the certificate for Apple's push service. Without it and ApnsKeyFile, iPhones get no " +
			"notifications.",
	},
	{
		Name: "KeyPath", Kind: config.String,
		Help: "PEM file with the key of that certificate.",
	},
	{
		Name: "KeyPassword", Kind: config.Secret,
		Help: "Password of that key. Without it, the key is not encrypted.",
	},
	{
		Name: "SandBox", Kind: config.Bool, Default: "0",
		Help: "1 speaks to Apple's sandbox, as apps in development need it.",
	},
	{
		Name: "ApnsKeyFile", Kind: config.String,
		Help: "The .p8 file of a key for Apple's push service. With it, no certificate is needed: it goes before CertPath.",
	},
	{
		Name: "ApnsKeyID", Kind: config.String,
		Help: "Id of that key, 10 characters. Required with ApnsKeyFile.",
	},
	{
		Name: "ApnsTeamID", Kind: config.String,
		Help: "Id of the developer team, 10 characters. Required with ApnsKeyFile.",
	},
	{
		Name: "ApnsTopic", Kind: config.String,
		Help: "Bundle id of the app. Required with ApnsKeyFile, and with a certificate for several apps.",
	},
	{
		Name: "ApnsUrl", Kind: config.URL,
		Help: "Where to reach Apple, for a proxy. Without it, Apple's own address by SandBox.",
	},
	{
		Name: "FcmAccountFile", Kind: config.String,
		Help: "The JSON file of a service account for Firebase Cloud Messaging. Without it, Android phones get no " +
			"notifications.",
	},
	{
		Name: "FcmUrl", Kind: config.URL, Default: fcm.URL,
		Help: "Where to reach Google, for a proxy.",
	},
	{
		Name: "ProviderCAFile", Kind: config.String,
		Help: "PEM file with the certificate authorities of Apple's and Google's addresses, for a proxy. Without it, " +
			"those of the system.",
	},
	{
		Name: "MaxWaiting", Kind: config.Int, Default: "10000", Min: 1, Max: 1_000_000,
		Help: "Most notifications that wait for each of Apple and Google; more are dropped and counted.",
	},
	{
		Name: "MaxAttempts", Kind: config.Int, Default: "6", Min: 1, Max: 100,
		Help: "How often a notification is tried when the service is away or busy, with growing pauses.",
	},
	{
		Name: "Workers", Kind: config.Int, Default: "32", Min: 1, Max: 1000,
		Help: "Requests to each of Apple and Google at the same time.",
	},
}, config.AcceptKeys, config.LinkKeys, config.ProcessKeys)

// Config is what pushserver.conf says.
type Config struct {
	config.Process
	config.Links // peers cannot prove a secret here: their addresses decide

	ListenIPs  []string
	ListenPort int

	CertPath, KeyPath string
	KeyPassword       secret.Value
	Sandbox           bool
	APNsKeyFile       string
	APNsKeyID         string
	APNsTeamID        string
	APNsTopic         string
	APNsURL           string // empty: Apple's
	FCMAccountFile    string
	FCMURL            string
	ProviderCAFile    string

	MaxWaiting  int
	MaxAttempts int
	Workers     int
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
		Process:        process,
		Links:          links,
		ListenIPs:      f.List("ListenIP"),
		ListenPort:     f.Int("ListenPort"),
		CertPath:       f.String("CertPath"),
		KeyPath:        f.String("KeyPath"),
		KeyPassword:    f.Secret("KeyPassword"),
		Sandbox:        f.Bool("SandBox"),
		APNsKeyFile:    f.String("ApnsKeyFile"),
		APNsKeyID:      f.String("ApnsKeyID"),
		APNsTeamID:     f.String("ApnsTeamID"),
		APNsTopic:      f.String("ApnsTopic"),
		APNsURL:        f.String("ApnsUrl"),
		FCMAccountFile: f.String("FcmAccountFile"),
		FCMURL:         f.String("FcmUrl"),
		ProviderCAFile: f.String("ProviderCAFile"),
		MaxWaiting:     f.Int("MaxWaiting"),
		MaxAttempts:    f.Int("MaxAttempts"),
		Workers:        f.Int("Workers"),
	}
	var pairErr error
	switch {
	case c.APNsKeyFile != "" && (c.APNsKeyID == "" || c.APNsTeamID == "" || c.APNsTopic == ""):
		pairErr = f.Fail("ApnsKeyFile", "needs ApnsKeyID, ApnsTeamID and ApnsTopic beside it")
	case (c.CertPath == "") != (c.KeyPath == ""):
		pairErr = f.Fail("CertPath", "and KeyPath go together")
	}
	if err := config.Gather(processErr, linksErr, pairErr); err != nil {
		return Config{}, err
	}
	return c, nil
}
