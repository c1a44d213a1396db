// Package conf_test compares the sample configurations in this folder with
// the key tables of the roles, and those tables with the files of the
// original.
package conf_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"teamtalk/db_proxy/dbproxy"
	"teamtalk/file_server/fileserver"
	"teamtalk/http_msg_server/httpserver"
	"teamtalk/internal/config"
	"teamtalk/login_server/loginserver"
	"teamtalk/msg_server/msgserver"
	"teamtalk/push_server/pushserver"
	"teamtalk/route_server/routeserver"
)

var update = flag.Bool("update", false, "rewrite the sample files")

// roles lists every configuration; load returns its warnings.
var roles = []struct {
	file, title string
	keys        config.Keys
	load        func(path string) (config.Errors, error)
}{
	{
		loginserver.ConfigFile, "login_server: tells clients which msg_server to use.", loginserver.Keys,
		func(path string) (config.Errors, error) {
			c, err := loginserver.LoadConfig(path)
			return c.Warnings, err
		},
	},
	{
		msgserver.ConfigFile, "msg_server: holds the connections of the clients.", msgserver.Keys,
		func(path string) (config.Errors, error) {
			c, err := msgserver.LoadConfig(path)
			return c.Warnings, err
		},
	},
	{
		routeserver.ConfigFile, "route_server: carries messages and presence between the msg_servers.", routeserver.Keys,
		func(path string) (config.Errors, error) {
			c, err := routeserver.LoadConfig(path)
			return c.Warnings, err
		},
	},
	{
		httpserver.ConfigFile, "http_msg_server: lets back ends send messages and manage accounts over HTTP.",
		httpserver.Keys,
		func(path string) (config.Errors, error) {
			c, err := httpserver.LoadConfig(path)
			return c.Warnings, err
		},
	},
	{
		pushserver.ConfigFile, "push_server: notifies phones through Apple and Google.", pushserver.Keys,
		func(path string) (config.Errors, error) {
			c, err := pushserver.LoadConfig(path)
			return c.Warnings, err
		},
	},
	{
		dbproxy.ConfigFile, "db_proxy: stores everything in MySQL, with Redis as its cache.", dbproxy.Keys,
		func(path string) (config.Errors, error) {
			c, err := dbproxy.LoadConfig(path)
			return c.Warnings, err
		},
	},
	{
		fileserver.ConfigFile, "file_server: moves and keeps files, and serves images over HTTP.", fileserver.Keys,
		func(path string) (config.Errors, error) {
			c, err := fileserver.LoadConfig(path)
			return c.Warnings, err
		},
	},
}

// format stands at the top of every sample.
const format = " Lines are KEY=value; # starts a comment anywhere in a line, so no value can hold one. " +
	"An empty value counts as absent. Durations are written 30s or 5m (a plain number is seconds), " +
	"sizes 4096, 64KiB or 1MiB. Instead of a secret NAME, NAME_file may name a file that holds it; " +
	"its path counts from the folder of this file. Keys without a # in front of them are set."

func TestSamples(t *testing.T) {
	t.Parallel()
	for _, role := range roles {
		t.Run(role.file, func(t *testing.T) {
			t.Parallel()
			if err := role.keys.Check(); err != nil {
				t.Fatal(err)
			}
			var want strings.Builder
			if err := config.Sample(&want, role.title+format, role.keys); err != nil {
				t.Fatal(err)
			}
			if *update {
				if err := os.WriteFile(role.file, []byte(want.String()), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			got, err := os.ReadFile(role.file)
			if err != nil {
				t.Fatal(err)
			}
			if string(got) != want.String() {
				t.Errorf("%s does not say what the key table says; go test ./conf -update rewrites it", role.file)
			}
			warnings, err := role.load(role.file)
			if err != nil || len(warnings) > 0 {
				t.Errorf("%v %v", err, warnings)
			}
		})
	}
}

// TestOriginals loads files with the keys and values of the original's two
// sets of samples: its source tree and its installer.
func TestOriginals(t *testing.T) {
	t.Parallel()
	for _, role := range roles {
		for _, set := range []string{"src", "inst"} {
			t.Run(set+"/"+role.file, func(t *testing.T) {
				t.Parallel()
				warnings, err := role.load(filepath.Join("testdata", set, role.file))
				if err != nil || len(warnings) > 0 {
					t.Errorf("%v %v", err, warnings)
				}
			})
		}
	}
}

// TestUnsetKeysUncommented sets every key that the samples leave out to the
// default they name.
func TestUnsetKeysUncommented(t *testing.T) {
	t.Parallel()
	for _, role := range roles {
		t.Run(role.file, func(t *testing.T) {
			t.Parallel()
			sample, err := os.ReadFile(role.file)
			if err != nil {
				t.Fatal(err)
			}
			var lines []string
			for line := range strings.Lines(string(sample)) {
				lines = append(lines, strings.TrimPrefix(line, "#"))
			}
			var keys []string
			for _, line := range lines {
				if !strings.HasPrefix(line, " ") {
					keys = append(keys, line)
				}
			}
			path := filepath.Join(t.TempDir(), role.file)
			if err := os.WriteFile(path, []byte(strings.Join(keys, "")), 0o600); err != nil {
				t.Fatal(err)
			}
			if warnings, err := role.load(path); err != nil || len(warnings) > 0 {
				t.Errorf("%v %v", err, warnings)
			}
		})
	}
}

// TestBadCombinations tries values that are right alone and wrong together.
func TestBadCombinations(t *testing.T) {
	t.Parallel()
	db, err := os.ReadFile("testdata/src/dbproxyserver.conf")
	if err != nil {
		t.Fatal(err)
	}
	msg, err := os.ReadFile("testdata/src/msgserver.conf")
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		text, old, replacement string
		load                   func(text string) error
		want                   string
	}{
		"no master": {
			string(db), "DBInstances=teamtalk_master,teamtalk_slave", "DBInstances=teamtalk_slave", parseDB,
			"f:6: DBInstances: must list teamtalk_master (or set StoreDriver=sqlite)",
		},
		"no unread": {
			string(db), "CacheInstances=unread,", "CacheInstances=", parseDB,
			"f:21: CacheInstances: must list unread",
		},
		"database of a cluster": {
			string(db), "unread_host=127.0.0.1", "unread_host=r1;r2:7000", parseDB,
			"f:25: unread_db: must be 0: unread_host names several hosts, and a cluster has no other database",
		},
		"open to a network": {
			string(db), "ThreadNum=48", "AllowedPeers=10.0.0.0/8", parseDB,
			"LinkSecret: is missing; it is required because AllowedPeers has 10.0.0.0/8 (or set OriginalNeighbours=1)",
		},
		"one pair is enough": {string(msg), "DBServerIP2", "#", parseMsg, ""},
		"no db_proxy": {
			string(msg), "DBServerIP1", "#", parseMsg,
			"DBServerIP1: is missing or has no DBServerPort1 beside it; the least number of such pairs is 1",
		},
		"short key": {
			string(msg), "aesKey=1", "aesKey=", parseMsg, "f:28: aesKey: is 31 bytes long, must be exactly 32",
		},
		"slow consumer below a PDU": {
			string(msg), "MaxConnCnt=100000", "SlowConsumerBytes=512KiB", parseMsg,
			"f:26: SlowConsumerBytes: is less than MaxClientPDU (1048576 bytes)",
		},
		"obsolete": {string(msg), "MaxConnCnt=100000", "HttpListenPort=8300", parseMsg, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			text := strings.Replace(c.text, c.old, c.replacement, 1)
			if text == c.text {
				t.Fatalf("no %q in the file", c.old)
			}
			err := c.load(text)
			switch {
			case err == nil && c.want != "":
				t.Errorf("accepted, want %s", c.want)
			case err != nil && (c.want == "" || !strings.HasSuffix(err.Error(), c.want) || !config.IsConfig(err)):
				t.Errorf("got  %v\nwant %s", err, c.want)
			}
		})
	}
}

func parseDB(text string) error {
	_, err := dbproxy.ParseConfig(strings.NewReader(text), "f")
	return err
}

func parseMsg(text string) error {
	_, err := msgserver.ParseConfig(strings.NewReader(text), "f")
	return err
}

// TestEmbedded is the configuration of a server that needs nothing else.
func TestEmbedded(t *testing.T) {
	t.Parallel()
	c, err := dbproxy.ParseConfig(strings.NewReader("ListenIP=127.0.0.1\nListenPort=10600\nStoreDriver=sqlite\n"+
		"StorePath=data/teamtalk.db\naesKey=12345678901234567890123456789012\nMsfsSite=127.0.0.1\n"), "f")
	if err != nil || c.Caches != nil || c.StorePath != "data/teamtalk.db" || c.MsfsSite != "http://127.0.0.1/" ||
		c.HealthListen != "127.0.0.1:10650" || !c.KeepLegacyPasswords {
		t.Errorf("%+v %v", c, err)
	}
}
