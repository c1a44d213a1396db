package config_test

import (
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"teamtalk/internal/config"
	"teamtalk/internal/secret"
)

var update = flag.Bool("update", false, "rewrite the expected complaints in testdata")

// testKeys has one key of every shape.
var testKeys = config.Join(config.Keys{
	{Name: "ListenIP", Kind: config.IPList, Required: true, Help: "h"},
	{Name: "ListenPort", Kind: config.Port, Required: true, Help: "h"},
	{Name: "Peer", Kind: config.Servers, Min: 1, Help: "h"},
	{Name: "Backup", Kind: config.Servers, Help: "h"},
	{Name: "Announce", Kind: config.Host, Help: "h"},
	{Name: "Seeds", Kind: config.Hosts, Help: "h"},
	{Name: "Bind", Kind: config.IP, Help: "h"},
	{Name: "Count", Kind: config.Int, Default: "7", Min: 1, Max: 9, Help: "h"},
	{Name: "Wait", Kind: config.Duration, Default: "30s", Min: int64(time.Second), Help: "h"},
	{Name: "Cap", Kind: config.Bytes, Default: "1MiB", Min: 1 << 10, Max: 1 << 30, Help: "h"},
	{Name: "Strict", Kind: config.Bool, Help: "h"},
	{Name: "Mode", Kind: config.String, Default: "fast", Enum: []string{"fast", "safe"}, Help: "h"},
	{Name: "Note", Kind: config.String, Help: "h"},
	{Name: "Site", Kind: config.URL, Help: "h"},
	{Name: "aesKey", Kind: config.Secret, Min: 32, Max: 32, Help: "h"},
	{Name: "Stores", Kind: config.List, Enum: []string{"first", "second"}, Default: "first", Help: "h"},
	{Name: "*_host", Per: "Stores", Kind: config.Host, Default: "127.0.0.1", Help: "h"},
	{Name: "*_password", Per: "Stores", Kind: config.Secret, Help: "h"},
	{Name: "*_must", Per: "Stores", Kind: config.Int, Required: true, Help: "h"},
	{Name: "HttpPort", Kind: config.Port, Obsolete: true, Help: "clients ask login_server."},
}, config.ProcessKeys, config.LinkKeys, config.AcceptKeys)

const minimal = "ListenIP=0.0.0.0\nListenPort=8000\nPeerIP1=localhost\nPeerPort1=9\nfirst_must=1\n"

func parse(t *testing.T, text string) *config.File {
	t.Helper()
	f, err := config.Parse(strings.NewReader(text), "test.conf", testKeys)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestTable(t *testing.T) {
	t.Parallel()
	if err := testKeys.Check(); err != nil {
		t.Fatal(err)
	}
	bad := map[string]config.Keys{
		"twice":         {{Name: "A", Help: "h"}, {Name: "A", Help: "h"}},
		"no help":       {{Name: "A"}},
		"bad default":   {{Name: "A", Kind: config.Int, Default: "x", Help: "h"}},
		"bad sample":    {{Name: "A", Kind: config.Port, Sample: "0", Help: "h"}},
		"no such list":  {{Name: "*_a", Per: "L", Help: "h"}},
		"star for none": {{Name: "*_a", Help: "h"}},
	}
	for name, keys := range bad {
		if keys.Check() == nil {
			t.Errorf("%s: no complaint", name)
		}
	}
}

// TestBadFiles parses every testdata/NAME/bad.conf and compares the complaints
// with expected-error beside it.
func TestBadFiles(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/*/bad.conf")
	if err != nil || len(files) < 15 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(filepath.Base(filepath.Dir(file)), func(t *testing.T) {
			t.Parallel()
			_, err := config.Load(file, testKeys)
			if err == nil {
				t.Fatal("accepted")
			}
			if !config.IsConfig(err) {
				t.Errorf("%v is not for the author of the file", err)
			}
			got := strings.ReplaceAll(err.Error(), file, "bad.conf") + "\n"
			expected := filepath.Join(filepath.Dir(file), "expected-error")
			if *update {
				if err := os.WriteFile(expected, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(expected)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("got:\n%swant:\n%s", got, want)
			}
		})
	}
}

func TestValues(t *testing.T) {
	t.Parallel()
	f := parse(t, "\xef\xbb\xbf# first\r\n \tListenIP = 10.0.0.1;localhost ; \t# comment\r\nListenPort=\n"+
		"ListenPort=8000#=x\nListenPort=9000\nPeerIP1=a.example\nPeerPort1=1\nPeerIP2=::1\nPeerPort2=2\n"+
		"PeerIP4=never\nPeerPort4=4\nBackupIP1=half\nCount=9\nWait=90\nCap=64 KiB\nStrict=1\nNote=a=b = c\n"+
		"Seeds=r1;::1;r2:7000\nStores=second,first\nsecond_host=db-2\nfirst_must=1\nsecond_must=2\nfirst_password=p w\n"+
		"AllowedPeers=10.0.0.0/8;192.168.1.7\nOriginalNeighbours=1\nHttpPort=1\n"+strings.Repeat("#", 5000)+"\n")
	for _, c := range []struct{ got, want any }{
		{f.List("ListenIP"), []string{"10.0.0.1", "127.0.0.1"}},
		{f.Int("ListenPort"), 8000},
		{f.Addrs("Seeds", 6379), []string{"r1:6379", "[::1]:6379", "r2:7000"}},
		{f.List("Peer"), []string{"a.example:1", "[::1]:2"}},
		{f.List("Backup"), []string{}},
		{f.Int("Count"), 9},
		{f.Duration("Wait"), 90 * time.Second},
		{f.Int("Cap"), 64 << 10},
		{f.Bool("Strict"), true},
		{f.String("Note"), "a=b = c"},
		{f.String("Mode"), "fast"},
		{f.String("Site"), ""},
		{f.List("Stores"), []string{"second", "first"}},
		{f.String("second_host"), "db-2"},
		{f.String("first_host"), "127.0.0.1"},
		{f.Int("second_must"), 2},
		{f.Secret("first_password").Reveal(), "p w"},
		{f.Secret("second_password"), secret.New("")},
		{f.Prefixes("AllowedPeers"), []netip.Prefix{
			netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("192.168.1.7/32"),
		}},
	} {
		if fmt.Sprintf("%#v", c.got) != fmt.Sprintf("%#v", c.want) {
			t.Errorf("got %#v, want %#v", c.got, c.want)
		}
	}
	const want = "test.conf:5: ListenPort: is given again; the value of line 4 counts\n" +
		"test.conf:10: PeerIP4: has no effect: pairs are read upwards from 1 and one before it, or its other half, is missing\n" +
		"test.conf:11: PeerPort4: has no effect: pairs are read upwards from 1 and one before it, or its other half, is missing\n" +
		"test.conf:12: BackupIP1: has no effect: pairs are read upwards from 1 and one before it, or its other half, is missing\n" +
		"test.conf:26: HttpPort: is obsolete and ignored: clients ask login_server."
	if got := f.Warnings().Error(); got != want {
		t.Errorf("got warnings:\n%s\nwant:\n%s", got, want)
	}
}

func TestInstanceNotListed(t *testing.T) {
	t.Parallel()
	f := parse(t, minimal+"second_host=x\n")
	if got := f.Warnings().Error(); got != "test.conf:6: second_host: has no effect: Stores does not list it" {
		t.Error(got)
	}
}

func TestSecretFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(filepath.Join(dir, name), mode); err != nil {
			t.Fatal(err)
		}
	}
	write("key", "12345678901234567890123456789#12\r\n", 0o600)
	write("open", "pass", 0o644)
	write("my.conf", minimal+"aesKey_file=key\nfirst_password_file="+filepath.Join(dir, "open")+"\n", 0o600)
	f, err := config.Load(filepath.Join(dir, "my.conf"), testKeys)
	if err != nil {
		t.Fatal(err)
	}
	if got := f.Secret("aesKey").Reveal(); got != "12345678901234567890123456789#12" {
		t.Errorf("got %q", got)
	}
	if got := f.Secret("first_password").Reveal(); got != "pass" {
		t.Errorf("got %q", got)
	}
	if w := f.Warnings(); len(w) != 1 || w[0].Key != "first_password_file" {
		t.Errorf("warnings: %v", w)
	}
}

func TestSecretsStayHidden(t *testing.T) {
	t.Parallel()
	_, err := config.Parse(strings.NewReader(minimal+"aesKey=topsecret\n"), "f", testKeys)
	if err == nil || strings.Contains(err.Error(), "topsecret") {
		t.Error(err)
	}
}

func TestLoadMissingFile(t *testing.T) {
	t.Parallel()
	_, err := config.Load("testdata/none.conf", testKeys)
	if err == nil || err.Error() != "testdata/none.conf: no such file or directory" {
		t.Error(err)
	}
	if complaint, ok := errors.AsType[*config.Error](err); !ok || complaint.Line != 0 {
		t.Errorf("%#v", err)
	}
}

func TestShared(t *testing.T) {
	t.Parallel()
	f := parse(t, minimal+"LogLevel=DEBUG\nLogFormat=Json\n") // case does not matter
	p, err := f.Process("ListenPort")
	if err != nil {
		t.Fatal(err)
	}
	want := config.Process{
		HealthListen: "127.0.0.1:8050", LogLevel: slog.LevelDebug, LogJSON: true, ShutdownTimeout: 30 * time.Second,
	}
	if p.HealthListen != want.HealthListen || p.LogLevel != want.LogLevel || !p.LogJSON || p.ShutdownTimeout != want.ShutdownTimeout {
		t.Errorf("got %+v, want %+v", p, want)
	}
	l, err := f.Links()
	if err != nil || l.MaxLinkPDU != 64<<20 {
		t.Errorf("%+v, %v", l, err)
	}
	for addr, want := range map[string]bool{
		"127.3.2.1": true, "::1": true, "::ffff:127.0.0.1": true, "10.0.0.1": false, "fe80::1%eth0": false,
	} {
		if got := l.AllowedPeers.Allow(netip.MustParseAddr(addr)); got != want {
			t.Errorf("%s: %v", addr, got)
		}
	}
	_, err = parse(t, minimal+"AllowedPeers=10.0.0.0/8").Links()
	if err == nil || !strings.HasPrefix(err.Error(), "test.conf:6: LinkSecret: is missing; it is required because") {
		t.Error(err)
	}
	for _, more := range []string{"LinkSecret=0123456789abcdef", "OriginalNeighbours=1"} {
		if _, err := parse(t, minimal+"AllowedPeers=10.0.0.0/8\n"+more).Links(); err != nil {
			t.Error(err)
		}
	}
	_, err = parse(t, strings.Replace(minimal, "8000", "65530", 1)).Process("ListenPort")
	if err == nil {
		t.Error("a health port above 65535 was accepted")
	}
}

func TestUndeclaredKeyPanics(t *testing.T) {
	t.Parallel()
	f := parse(t, minimal)
	for name, ask := range map[string]func(){
		"undeclared": func() { f.Int("ListnPort") },
		"wrong kind": func() { f.Bool("ListenPort") },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			ask()
		}()
	}
}

func TestSampleIsAccepted(t *testing.T) {
	t.Parallel()
	keys := config.Join(config.Keys{
		{Name: "Peer", Kind: config.Servers, Min: 1, Sample: "127.0.0.1:9", Help: "Peers."},
		{Name: "Stores", Kind: config.List, Enum: []string{"first", "second"}, Default: "first,second", Help: "Names."},
		{Name: "*_host", Per: "Stores", Kind: config.Host, Required: true, Sample: "db", Help: "Where."},
		{Name: "*_password", Per: "Stores", Kind: config.Secret, Help: "Word."},
	}, config.ProcessKeys, config.LinkKeys)
	var sample strings.Builder
	if err := config.Sample(&sample, "A title.", keys); err != nil {
		t.Fatal(err)
	}
	f, err := config.Parse(strings.NewReader(sample.String()), "sample", keys)
	if err != nil || len(f.Warnings()) > 0 {
		t.Fatalf("%v %v\n%s", err, f, sample.String())
	}
	if f.String("second_host") != "db" || !slices.Equal(f.List("Peer"), []string{"127.0.0.1:9"}) {
		t.Error(sample.String())
	}
	if want := "\n# size from 1MiB to 256MiB; default 64MiB\n#MaxLinkPDU="; !strings.Contains(sample.String(), want) {
		t.Error(sample.String())
	}
}

func FuzzParse(f *testing.F) {
	f.Add(minimal)
	f.Add("=\n#\nPeerIP1=\nPeerIP99999999999999999999=1\nfirst_password_file=/dev/null\n")
	f.Fuzz(func(t *testing.T, text string) {
		if strings.Contains(text, "_file") {
			t.Skip("would read files")
		}
		file, err := config.Parse(strings.NewReader(text), "f", testKeys)
		if err != nil && !config.IsConfig(err) {
			t.Errorf("%v", err)
		}
		if err == nil && len(file.List("Peer")) == 0 {
			t.Error("a required list is empty")
		}
	})
}

// The file of another installation starts with a warning for each key that is
// not known here; what is known is as strict as ever.
func TestLenient(t *testing.T) {
	t.Parallel()
	const text = minimal + "WebPort=9000\nlistenport=8001\n"
	if _, err := config.Parse(strings.NewReader(text), "other.conf", testKeys, config.Lenient(false)); err == nil {
		t.Error("unknown keys pass without --lenient")
	}
	f, err := config.Parse(strings.NewReader(text), "other.conf", testKeys, config.Lenient(true))
	if err != nil {
		t.Fatal(err)
	}
	want := "other.conf:6: WebPort: unknown key, ignored\n" +
		"other.conf:7: listenport: unknown key, ignored; did you mean ListenPort?"
	if got := f.Warnings().Error(); got != want {
		t.Errorf("warnings\n%s\nwant\n%s", got, want)
	}
	if f.Int("ListenPort") != 8000 {
		t.Errorf("ListenPort is %d", f.Int("ListenPort"))
	}
	if _, err := config.Parse(strings.NewReader(text+"Count=77\n"), "other.conf", testKeys, config.Lenient(true)); err == nil {
		t.Error("a bad value passes")
	}
}
