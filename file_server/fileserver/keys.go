package fileserver

import (
	"io"
	"net"
	"net/netip"
	"strings"
	"time"

	"teamtalk/file_server/internal/blob"
	"teamtalk/file_server/internal/image"
	"teamtalk/internal/config"
	"teamtalk/internal/secret"
)

// ConfigFile is the name of the configuration in the working folder.
const ConfigFile = "fileserver.conf"

// maxOldFile is the largest file of the original's protocol, whose sizes have
// 32 bits.
const maxOldFile = 1<<32 - 1

// Keys are the keys of fileserver.conf: the original's first, then ours.
var Keys = config.Join(config.Keys{
	{
		Name: "FileServerIp", Kind: config.IPList, Default: "0.0.0.0",
		Help: "Addresses told to clients, each with ClientListenPort; they must be able to reach them. " +
			"0.0.0.0 stands for the first address of this machine.",
	},
	{
		Name: "ClientListenIP", Kind: config.IPList, Required: true, Sample: "0.0.0.0",
		Help: "Addresses to listen on for clients that send and fetch files.",
	},
	{
		Name: "ClientListenPort", Kind: config.Port, Required: true, Sample: "8600",
		Help: "Port for clients that send and fetch files.",
	},
	{
		Name: "MsgServerListenIP", Kind: config.IPList, Required: true, Sample: "127.0.0.1",
		Help: "Addresses to listen on for msg_servers.",
	},
	{
		Name: "MsgServerListenPort", Kind: config.Port, Required: true, Sample: "8601",
		Help: "Port for msg_servers.",
	},
	{
		Name: "TaskTimeout", Kind: config.Duration, Default: "60s", Min: int64(time.Second), Max: int64(24 * time.Hour),
		Help: "How long a task waits while neither of its users is connected: to begin, or to go on after a cut.",
	},
	{
		Name: "HttpListenIP", Kind: config.IPList, Sample: "0.0.0.0",
		Help: "Addresses to listen on for images and files over HTTP. Without it, there is no such port.",
	},
	{
		Name: "HttpListenPort", Kind: config.Port, Default: "8700",
		Help: "Port for images and files over HTTP.",
	},
	{
		Name: "ImageURL", Kind: config.URL,
		Help: "Beginning of the URLs of uploaded images, as clients reach this server. Without it, the Host " +
			"that the uploader asked for.",
	},
	{
		Name: "FileTokenSecret", Kind: config.Secret, Min: 16, Max: 1024,
		Help: "Secret shared with the msg_servers, with which they sign what lets a client send and fetch files of " +
			"messages over HTTP. Without it, or without HttpListenIP, there are no such files.",
	},
	{
		Name: "FilesURL", Kind: config.URL,
		Help: "Beginning of the URLs of such files, as clients reach this server. Without it, the first address told " +
			"to clients with HttpListenPort.",
	},
}, storeKeys, limitKeys, config.Keys{
	{Name: "Address", Kind: config.IP, Obsolete: true, Help: "ClientListenIP and MsgServerListenIP"},
	{Name: "ListenPort", Kind: config.Port, Obsolete: true, Help: "ClientListenPort and MsgServerListenPort"},
}, config.AcceptKeys, config.LinkKeys, config.ProcessKeys)

// storeKeys say where the bytes are.
var storeKeys = config.Keys{
	{
		Name: "DataDir", Kind: config.String, Default: "files",
		Help: "Folder for files, and for uploads on their way in; made when absent. Each file_server needs one of its own.",
	},
	{
		Name: "StoreDriver", Kind: config.String, Default: "local", Enum: []string{"local", "s3"},
		Help: "Where finished files are kept: local, in DataDir; s3, in a bucket.",
	},
	{Name: "S3Endpoint", Kind: config.URL, Help: "URL of the S3-compatible store."},
	{Name: "S3Region", Kind: config.String, Help: "Region of the bucket, where the store needs one."},
	{Name: "S3Bucket", Kind: config.String, Help: "Bucket, which must exist."},
	{
		Name: "S3Prefix", Kind: config.String,
		Help: "Put in front of every key in the bucket; it ends with /. File_servers that share a bucket must have one " +
			"each: the collector of one does not see what another one is about to enter.",
	},
	{Name: "S3AccessKey", Kind: config.String, Help: "Access key of the bucket."},
	{Name: "S3SecretKey", Kind: config.Secret, Help: "Secret key of the bucket."},
	{
		Name: "MinFree", Kind: config.Bytes, Default: "512MiB", Min: 0, Max: 1 << 50,
		Help: "Space left free on the disk of DataDir: uploads that would need it are refused.",
	},
}

// limitKeys bound what users may do.
var limitKeys = config.Keys{
	{
		Name: "OfflineExpiry", Kind: config.Duration, Default: "168h",
		Min: int64(time.Minute), Max: int64(10 * 365 * 24 * time.Hour),
		Help: "How long a file is kept for a receiver who does not fetch it.",
	},
	{
		Name: "SharedExpiry", Kind: config.Duration, Default: "2160h", Min: int64(time.Minute),
		Max:  int64(100 * 365 * 24 * time.Hour),
		Help: "How long a file of a message is kept after it was sent.",
	},
	{
		Name: "UserQuota", Kind: config.Bytes, Default: "4GiB", Min: 0, Max: 1 << 50,
		Help: "Most bytes of one user's files that are kept at a time; 0 for no limit.",
	},
	{
		Name: "MaxFileSize", Kind: config.Bytes, Default: "4294967295", Min: 1, Max: maxOldFile,
		Help: "Largest off-line file in the original's protocol, which knows none of 4 GiB and more.",
	},
	{
		Name: "MaxTasks", Kind: config.Int, Default: "10000", Min: 1, Max: 1_000_000,
		Help: "Most transfers of the original's protocol at a time.",
	},
	{
		Name: "MaxTasksPerUser", Kind: config.Int, Default: "50", Min: 1, Max: 1_000_000,
		Help: "Most of them that one user has begun.",
	},
	{
		Name: "MaxImageBytes", Kind: config.Bytes, Default: "10MiB", Min: 1 << 10, Max: 1 << 30,
		Help: "Largest upload over HTTP in the original's way.",
	},
	{
		Name: "ImageQuota", Kind: config.Bytes, Default: "0", Min: 0, Max: 1 << 50,
		Help: "Most bytes of all such uploads together of which nobody says who he is: images, avatars, the sound of " +
			"voice messages; 0 for no limit but MinFree. With a token for a file of a message, an upload counts against " +
			"the UserQuota of its user.",
	},
	{
		Name: "ImageExpiry", Kind: config.Duration, Default: "0", Min: 0, Max: int64(100 * 365 * 24 * time.Hour),
		Help: "How long such an upload is kept that nobody fetches; 0 for ever. Messages and users name images by their " +
			"URLs: what is removed is missing there.",
	},
	{
		Name: "MaxImagePixels", Kind: config.Int, Default: "24000000", Min: 1, Max: 1 << 30,
		Help: "Largest image that is taken, in pixels; one at a time is made smaller.",
	},
	{
		Name: "ImageMemory", Kind: config.Bytes, Default: "40MiB", Min: 1 << 20, Max: 1 << 40,
		Help: "Most memory that decoding one image may take to make it smaller; larger ones are served as they are. " +
			"24 million pixels take 35MiB in a usual JPEG, five times as much in a progressive one, 92MiB in a PNG.",
	},
	{
		Name: "StripExif", Kind: config.Bool, Default: "0",
		Help: "1 removes from images what they say of the place, the time, the camera and the people (EXIF, XMP, IPTC, " +
			"comments, previews), also from images sent as files of messages; their pixels stay as they are.",
	},
	{
		Name: "ImageSizes", Kind: config.List, Default: "32x32,64x64,100x100,120x120,150x150,200x200,240x240,310x310,480x480",
		Help: "Sizes in which images are offered, WIDTHxHEIGHT, as NAME_100x100.jpg; for others the image itself is served.",
	},
	{
		Name: "CollectEvery", Kind: config.Duration, Default: "1h", Min: int64(time.Second), Max: int64(24 * time.Hour),
		Help: "How often files are looked for whose time is over.",
	},
}

// Config is what fileserver.conf says.
type Config struct {
	config.Process
	config.Links

	Addrs           []netip.AddrPort // told to clients, at least one
	ClientListen    []string         // IP:port
	MsgServerListen []string
	HTTPListen      []string // may be empty
	ImageURL        string   // ends with /, or empty
	TaskTimeout     time.Duration

	FileTokenSecret secret.Value // empty: no files of messages
	FilesURL        string       // ends with /

	DataDir string
	UseS3   bool
	S3      blob.S3Config
	MinFree int64

	OfflineExpiry   time.Duration
	SharedExpiry    time.Duration
	UserQuota       int64
	MaxFileSize     int64
	MaxTasks        int
	MaxTasksPerUser int
	MaxImageBytes   int64
	MaxImagePixels  int
	ImageMemory     int64
	ImageQuota      int64
	ImageExpiry     time.Duration // 0 = never
	StripExif       bool
	ImageSizes      []image.Size
	CollectEvery    time.Duration
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
	process, processErr := f.Process("ClientListenPort")
	links, linksErr := f.Links()
	c := Config{
		Process:         process,
		Links:           links,
		ClientListen:    f.Addrs("ClientListenIP", f.Int("ClientListenPort")),
		MsgServerListen: f.Addrs("MsgServerListenIP", f.Int("MsgServerListenPort")),
		HTTPListen:      f.Addrs("HttpListenIP", f.Int("HttpListenPort")),
		TaskTimeout:     f.Duration("TaskTimeout"),
		DataDir:         f.String("DataDir"),
		MinFree:         int64(f.Int("MinFree")),
		FileTokenSecret: f.Secret("FileTokenSecret"),
		OfflineExpiry:   f.Duration("OfflineExpiry"),
		SharedExpiry:    f.Duration("SharedExpiry"),
		UserQuota:       int64(f.Int("UserQuota")),
		MaxFileSize:     int64(f.Int("MaxFileSize")),
		MaxTasks:        f.Int("MaxTasks"),
		MaxTasksPerUser: f.Int("MaxTasksPerUser"),
		MaxImageBytes:   int64(f.Int("MaxImageBytes")),
		MaxImagePixels:  f.Int("MaxImagePixels"),
		ImageMemory:     int64(f.Int("ImageMemory")),
		ImageQuota:      int64(f.Int("ImageQuota")),
		ImageExpiry:     f.Duration("ImageExpiry"),
		StripExif:       f.Bool("StripExif"),
		CollectEvery:    f.Duration("CollectEvery"),
	}
	if u := f.String("ImageURL"); u != "" {
		c.ImageURL = strings.TrimSuffix(u, "/") + "/"
	}
	addrs, addrsErr := announced(f)
	c.Addrs = addrs
	if c.FilesURL = strings.TrimSuffix(f.String("FilesURL"), "/") + "/"; c.FilesURL == "/" && len(addrs) > 0 {
		c.FilesURL = "http://" + netip.AddrPortFrom(addrs[0].Addr(), uint16(f.Int("HttpListenPort"))).String() + "/"
	}
	var sizesErr error
	for _, text := range f.List("ImageSizes") {
		size, err := image.ParseSize(text)
		if err != nil {
			sizesErr = f.Fail("ImageSizes", "%v", err)
			break
		}
		c.ImageSizes = append(c.ImageSizes, size)
	}
	c.UseS3 = f.String("StoreDriver") == "s3"
	c.S3 = blob.S3Config{
		Endpoint: f.String("S3Endpoint"), Region: f.String("S3Region"), Bucket: f.String("S3Bucket"),
		Prefix: f.String("S3Prefix"), Access: f.String("S3AccessKey"), Secret: f.Secret("S3SecretKey"),
	}
	if err := config.Gather(processErr, linksErr, addrsErr, sizesErr, s3Complaint(f, &c)); err != nil {
		return Config{}, err
	}
	return c, nil
}

func s3Complaint(f *config.File, c *Config) error {
	if !c.UseS3 {
		return nil
	}
	for _, name := range []string{"S3Endpoint", "S3Bucket", "S3AccessKey"} {
		if f.String(name) == "" {
			return f.Fail(name, "is missing; StoreDriver is s3")
		}
	}
	if c.S3.Prefix != "" && !strings.HasSuffix(c.S3.Prefix, "/") {
		return f.Fail("S3Prefix", "does not end with /")
	}
	return nil
}

// announced returns what clients are told; an address that no client can use
// is replaced by one of this machine. Source: docs/protocol/defects.md G7.
func announced(f *config.File) (all []netip.AddrPort, err error) {
	port := uint16(f.Int("ClientListenPort"))
	for _, text := range f.List("FileServerIp") {
		if text == "localhost" {
			text = "127.0.0.1"
		}
		ip, err := netip.ParseAddr(text)
		if err != nil {
			return nil, f.Fail("FileServerIp", "%q is not an IP address", text)
		}
		if ip.IsUnspecified() {
			ip = ownAddress(f.List("ClientListenIP"))
		}
		all = append(all, netip.AddrPortFrom(ip, port))
	}
	return all, nil
}

// ownAddress is the first address listened on, or of this machine.
func ownAddress(listen []string) netip.Addr {
	for _, text := range listen {
		if ip, err := netip.ParseAddr(text); err == nil && !ip.IsUnspecified() {
			return ip
		}
	}
	addrs, _ := net.InterfaceAddrs() // without any, loopback is as good
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil && n.IP.IsGlobalUnicast() {
			if ip, ok := netip.AddrFromSlice(n.IP.To4()); ok {
				return ip
			}
		}
	}
	return netip.AddrFrom4([4]byte{127, 0, 0, 1})
}
