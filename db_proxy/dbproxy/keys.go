package dbproxy

import (
	"io"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"teamtalk/internal/config"
	"teamtalk/internal/secret"
)

// ConfigFile is the name of the configuration in the working folder.
const ConfigFile = "dbproxyserver.conf"

// The store drivers.
const (
	driverMySQL  = "mysql"
	driverSQLite = "sqlite"
)

// Names of the original that the configuration lists.
const (
	masterInstance = "teamtalk_master"
	slaveInstance  = "teamtalk_slave"
)

var (
	dbInstances    = []string{masterInstance, slaveInstance}
	cacheInstances = []string{"unread", "group_set", "token", "sync", "group_member"}
)

// Keys are the keys of dbproxyserver.conf: the original's first, then ours.
var Keys = config.Join(config.Keys{
	{
		Name: "ListenIP", Kind: config.IPList, Required: true, Sample: "127.0.0.1",
		Help: "Addresses to listen on for msg_servers.",
	},
	{
		Name: "ListenPort", Kind: config.Port, Required: true, Sample: "10600",
		Help: "Port for msg_servers.",
	},
	{
		Name: "ThreadNum", Kind: config.Int, Default: "48", Min: 1, Max: 10_000,
		Help: "Queries that may run at the same time.",
	},
	{
		Name: "MsfsSite", Kind: config.String, Sample: "http://127.0.0.1:8700",
		Help: "Where voice messages are uploaded. http:// is put before it and / behind it where they lack. " +
			"Without it, voice messages are refused.",
	},
	{
		Name: "aesKey", Kind: config.Secret, Fixed: true, Required: true, Min: 32, Max: 32,
		Sample: "12345678901234567890123456789012",
		Help:   "Key of the texts this server writes itself, the same as in msgserver.conf and in the clients.",
	},
}, databaseKeys, redisKeys, ownKeys, config.AcceptKeys, config.LinkKeys, config.TraceKeys, config.ProcessKeys)

var databaseKeys = config.Keys{
	{
		Name: "DBInstances", Kind: config.List, Enum: dbInstances, Sample: "teamtalk_master",
		Help: "The MySQL servers. teamtalk_master takes every write and is required unless StoreDriver is sqlite; " +
			"teamtalk_slave, a replica of it, is for reading history and may be left out.",
	},
	{
		Name: "*_host", Per: "DBInstances", Kind: config.Endpoints, Required: true, Sample: "127.0.0.1",
		Help: "Host, or the absolute path of a socket. Of several, separated by \";\", each with or without :port, " +
			"a new connection takes the first one that answers and, for teamtalk_master, accepts writes.",
	},
	{
		Name: "*_port", Per: "DBInstances", Kind: config.Port, Default: "3306", Sample: "3306",
		Help: "Port of the MySQL server, for hosts that name none.",
	},
	{
		Name: "*_dbname", Per: "DBInstances", Kind: config.String, Required: true, Sample: "teamtalk",
		Help: "Name of the database. It must exist; its tables are created at start.",
	},
	{
		Name: "*_username", Per: "DBInstances", Kind: config.String, Required: true, Sample: "teamtalk",
		Help: "User with all rights on that database.",
	},
	{
		Name: "*_password", Per: "DBInstances", Kind: config.Secret,
		Help: "The user's password. A password with a # in it must stand in a file of its own. Without either, " +
			"none is sent.",
	},
	{
		Name: "*_maxconncnt", Per: "DBInstances", Kind: config.Int, Default: "16", Min: 1, Max: 10_000,
		Help: "Most connections to this server.",
	},
	{
		Name: "*_initconncnt", Per: "DBInstances", Kind: config.Int, Default: "2", Min: 0, Max: 10_000,
		Help: "Connections opened at start. Not more than the most.",
	},
	{
		Name: "*_maxidletime", Per: "DBInstances", Kind: config.Duration, Default: "5m",
		Min: int64(time.Second), Max: int64(24 * time.Hour),
		Help: "An idle connection is closed after this time; keep it below wait_timeout of the server.",
	},
	{
		Name: "*_acquiretimeout", Per: "DBInstances", Kind: config.Duration, Default: "2s",
		Min: int64(time.Millisecond), Max: int64(time.Minute),
		Help: "Longest wait for a free connection before a request fails.",
	},
}

var redisKeys = config.Keys{
	{
		Name: "CacheInstances", Kind: config.List, Enum: cacheInstances, Sample: "unread,group_set,token,sync,group_member",
		Help: "The Redis pools. All but sync, which nothing uses, are required unless StoreDriver is sqlite; " +
			"then, without any, a cache inside this process takes their place.",
	},
	{
		Name: "*_host", Per: "CacheInstances", Kind: config.Hosts, Required: true, Sample: "127.0.0.1",
		Help: "Host of Redis. Several, separated by \";\", each with or without :port, are seeds of a Redis Cluster.",
	},
	{
		Name: "*_port", Per: "CacheInstances", Kind: config.Port, Default: "6379", Sample: "6379",
		Help: "Port of Redis, for hosts that name none.",
	},
	{
		Name: "*_db", Per: "CacheInstances", Kind: config.Int, Default: "0", Min: 0, Max: 1023, Sample: "1",
		Help: "Number of the Redis database. A cluster has 0 only. The pools may share one: their keys differ.",
	},
	{
		Name: "*_password", Per: "CacheInstances", Kind: config.Secret,
		Help: "Password of Redis. Without it, none is sent.",
	},
	{
		Name: "*_maxconncnt", Per: "CacheInstances", Kind: config.Int, Default: "16", Min: 1, Max: 10_000,
		Help: "Most connections of this pool.",
	},
}

var ownKeys = config.Keys{
	{
		Name: "StoreDriver", Kind: config.String, Default: driverMySQL, Enum: []string{driverMySQL, driverSQLite},
		Help: "Where everything is stored: in MySQL or MariaDB, or in one file by SQLite, for one machine.",
	},
	{
		Name: "StorePath", Kind: config.String, Default: "teamtalk.db",
		Help: "The file of SQLite; relative to the working folder.",
	},
	{
		Name: "CommitLanes", Kind: config.Int, Default: "2", Min: 1, Max: 64,
		Help: "Transactions that may be committing at the same time. A conversation always uses the same lane.",
	},
	{
		Name: "MaxBatch", Kind: config.Int, Default: "1000", Min: 1, Max: 10_000,
		Help: "Most messages stored by one transaction.",
	},
	{
		Name: "HashWorkers", Kind: config.Int, Default: "2", Min: 1, Max: 64,
		Help: "Passwords hashed at the same time. Each takes a core for some 40 ms and 20 MB of memory.",
	},
	{
		Name: "KeepLegacyPasswords", Kind: config.Bool, Default: "1",
		Help: "1 keeps the MD5 passwords of the original beside the argon2id ones, as a db_proxy_server of the " +
			"original or its admin site needs; with 0 each is blanked at the user's next log-in.",
	},
	{
		Name: "NightBegins", Kind: config.Int, Default: "22", Min: 0, Max: 23,
		Help: "Hour, on this machine's clock, from which owners of an iPhone who want no notifications at night get none.",
	},
	{
		Name: "NightEnds", Kind: config.Int, Default: "8", Min: 0, Max: 24,
		Help: "Hour from which they get them again. The same as NightBegins: there is no night.",
	},
}

// Config is what dbproxyserver.conf says.
type Config struct {
	config.Process
	config.Links

	ListenIPs  []string
	ListenPort int
	ThreadNum  int          // queries at the same time
	MsfsSite   string       // ends with /; empty refuses voice messages
	AESKey     secret.Value // 32 bytes

	StoreDriver string // "mysql" or "sqlite"
	StorePath   string // SQLite: the file
	Master      MySQL  // MySQL: always there
	Slave       MySQL  // MySQL: Host "" where there is none

	// Caches are the Redis pools by name; nil stands for a cache inside the
	// process, which only SQLite allows.
	Caches map[string]Redis

	CommitLanes         int
	MaxBatch            int // messages in one transaction
	HashWorkers         int
	KeepLegacyPasswords bool
	NightBegins         int // hours of the day
	NightEnds           int
}

// MySQL is one pool of connections.
type MySQL struct {
	Host           string // or the absolute path of a socket
	Port           int
	Others         []string // host:port or path, tried in order after the first
	DBName         string
	Username       string
	Password       secret.Value
	MaxConnCnt     int
	InitConnCnt    int
	MaxIdleTime    time.Duration
	AcquireTimeout time.Duration
}

// Redis is one pool of connections.
type Redis struct {
	Addrs      []string // host:port; several are the seeds of a cluster
	DB         int      // 0 on a cluster
	Password   secret.Value
	MaxConnCnt int
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
		ThreadNum:           f.Int("ThreadNum"),
		MsfsSite:            msfsSite(f.String("MsfsSite")),
		AESKey:              f.Secret("aesKey"),
		StoreDriver:         f.String("StoreDriver"),
		StorePath:           f.String("StorePath"),
		CommitLanes:         f.Int("CommitLanes"),
		MaxBatch:            f.Int("MaxBatch"),
		HashWorkers:         f.Int("HashWorkers"),
		KeepLegacyPasswords: f.Bool("KeepLegacyPasswords"),
		NightBegins:         f.Int("NightBegins"),
		NightEnds:           f.Int("NightEnds"),
	}
	if err := config.Gather(processErr, linksErr, c.bindDatabases(f), c.bindCaches(f)); err != nil {
		return Config{}, err
	}
	return c, nil
}

// msfsSite completes what the original's samples write as a bare address.
func msfsSite(site string) string {
	if site == "" {
		return ""
	}
	if !strings.Contains(site, "://") {
		site = "http://" + site
	}
	return strings.TrimSuffix(site, "/") + "/"
}

func (c *Config) bindDatabases(f *config.File) error {
	for _, instance := range f.List("DBInstances") {
		pool := MySQL{
			DBName:         f.String(instance + "_dbname"),
			Username:       f.String(instance + "_username"),
			Password:       f.Secret(instance + "_password"),
			MaxConnCnt:     f.Int(instance + "_maxconncnt"),
			InitConnCnt:    f.Int(instance + "_initconncnt"),
			MaxIdleTime:    f.Duration(instance + "_maxidletime"),
			AcquireTimeout: f.Duration(instance + "_acquiretimeout"),
		}
		pool.InitConnCnt = min(pool.InitConnCnt, pool.MaxConnCnt)
		pool.at(f.Addrs(instance+"_host", f.Int(instance+"_port")))
		if instance == masterInstance {
			c.Master = pool
		} else {
			c.Slave = pool
		}
	}
	if c.StoreDriver == driverMySQL && c.Master.Host == "" {
		return f.Fail("DBInstances", "must list %s (or set StoreDriver=%s)", masterInstance, driverSQLite)
	}
	return nil
}

// at takes the addresses of the server, checked by the file.
func (m *MySQL) at(addrs []string) {
	m.Host, m.Others = addrs[0], addrs[1:]
	if host, port, err := net.SplitHostPort(addrs[0]); err == nil && !filepath.IsAbs(addrs[0]) {
		m.Host = host
		m.Port, _ = strconv.Atoi(port) // a number: the file was checked
	}
}

func (c *Config) bindCaches(f *config.File) error {
	for _, name := range f.List("CacheInstances") {
		pool := Redis{
			Addrs:      f.Addrs(name+"_host", f.Int(name+"_port")),
			DB:         f.Int(name + "_db"),
			Password:   f.Secret(name + "_password"),
			MaxConnCnt: f.Int(name + "_maxconncnt"),
		}
		if len(pool.Addrs) > 1 && pool.DB != 0 {
			return f.Fail(name+"_db", "must be 0: %s_host names several hosts, and a cluster has no other database", name)
		}
		if c.Caches == nil {
			c.Caches = map[string]Redis{}
		}
		c.Caches[name] = pool
	}
	if c.Caches == nil && c.StoreDriver == driverSQLite {
		return nil
	}
	for _, name := range cacheInstances {
		if _, ok := c.Caches[name]; !ok && name != "sync" {
			return f.Fail("CacheInstances", "must list %s", name)
		}
	}
	return nil
}
