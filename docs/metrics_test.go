// Package docs_test compares the documents of this folder with the program.
package docs_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"teamtalk/client/textcrypt"
	"teamtalk/db_proxy/dbproxy"
	"teamtalk/file_server/fileserver"
	"teamtalk/http_msg_server/httpserver"
	"teamtalk/internal/secret"
	"teamtalk/internal/testenv"
	"teamtalk/internal/trace"
	"teamtalk/login_server/loginserver"
	"teamtalk/msg_server/msgserver"
	"teamtalk/push_server/pushserver"
	"teamtalk/route_server/routeserver"
)

// everyRole is the section whose metrics all roles have.
const everyRole = "Every role"

// TestMetrics compares docs/metrics.md with what each role registers: names,
// types and labels.
func TestMetrics(t *testing.T) {
	t.Parallel()
	documented := readMetrics(t)
	for role, open := range map[string]func(*testing.T, *recorder){
		"login_server": openLogin,
		"msg_server":   openMsg,
		"route_server": openRoute,
		"db_proxy":     openDB,
		"file_server":  openFile,

		"http_msg_server": openHTTP,
		"push_server":     openPush,
	} {
		t.Run(role, func(t *testing.T) {
			t.Parallel()
			r := &recorder{Registry: prometheus.NewRegistry(), t: t, metrics: map[string]string{}}
			open(t, r)
			want := maps.Clone(documented[everyRole])
			maps.Copy(want, documented[role])
			for _, name := range slices.Sorted(maps.Keys(r.metrics)) {
				if want[name] == "" {
					t.Errorf("%s, %s, is not in metrics.md", name, r.metrics[name])
				} else if got := r.metrics[name]; got != want[name] {
					t.Errorf("%s is %s; metrics.md says %s", name, got, want[name])
				}
			}
			for _, name := range slices.Sorted(maps.Keys(want)) {
				if r.metrics[name] == "" {
					t.Errorf("%s is in metrics.md and not registered", name)
				}
			}
		})
	}
}

// row is a line of a table of metrics: name, type, labels.
var row = regexp.MustCompile("(?m)^\\| `(im_\\w+)` \\| (\\w+) \\|([^|]*)\\|")

// readMetrics returns type and labels of the metrics of each section.
func readMetrics(t *testing.T) map[string]map[string]string {
	t.Helper()
	text, err := os.ReadFile("metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]map[string]string{}
	for section := range strings.SplitSeq(string(text), "\n## ") {
		title, body, _ := strings.Cut(section, "\n")
		all[title] = map[string]string{}
		for _, cells := range row.FindAllStringSubmatch(body, -1) {
			labels := strings.ReplaceAll(strings.ReplaceAll(strings.TrimSpace(cells[3]), "`", ""), " ", "")
			all[title][cells[1]] = describe(cells[2], labels)
		}
	}
	return all
}

func describe(kind, labels string) string { return fmt.Sprintf("a %s with labels {%s}", kind, labels) }

// recorder is a registry that knows what was registered, also where nothing
// was counted yet.
type recorder struct {
	*prometheus.Registry
	t       *testing.T
	metrics map[string]string // descriptions by name
}

func (r *recorder) Register(c prometheus.Collector) error {
	r.note(c)
	return r.Registry.Register(c)
}

func (r *recorder) MustRegister(all ...prometheus.Collector) {
	for _, c := range all {
		r.note(c)
	}
	r.Registry.MustRegister(all...)
}

// described finds name and labels in the text of a Desc, which shows them in
// no other way.
var described = regexp.MustCompile(`fqName: "(\w+)".*variableLabels: \{([\w,]*)\}`)

func (r *recorder) note(c prometheus.Collector) {
	r.t.Helper()
	descs := make(chan *prometheus.Desc, 1) // each of our collectors is one metric
	c.Describe(descs)
	text := (<-descs).String()
	found := described.FindStringSubmatch(text)
	if found == nil {
		r.t.Fatalf("no name and labels in %s", text)
	}
	r.metrics[found[1]] = describe(kindOf(r.t, c), found[2])
}

// kindOf asks a registry, and knows vectors, which are unseen until they count.
func kindOf(t *testing.T, c prometheus.Collector) string {
	t.Helper()
	switch c.(type) {
	case *prometheus.CounterVec:
		return "counter"
	case *prometheus.GaugeVec:
		return "gauge"
	case *prometheus.HistogramVec:
		return "histogram"
	}
	alone := prometheus.NewRegistry()
	alone.MustRegister(c)
	families, err := alone.Gather()
	if err != nil || len(families) != 1 {
		t.Fatalf("a collector of type %T: %d metrics, %v", c, len(families), err)
	}
	return strings.ToLower(families[0].GetType().String())
}

var discard = slog.New(slog.DiscardHandler)

// parse reads a configuration in which each "%d" is a free port.
func parse[C any](t *testing.T, as func(r io.Reader, name string) (C, error), text string) C {
	t.Helper()
	for strings.Contains(text, "%d") {
		_, port, err := net.SplitHostPort(testenv.FreeAddr(t))
		if err != nil {
			t.Fatal(err)
		}
		text = strings.Replace(text, "%d", port, 1)
	}
	cfg, err := as(strings.NewReader(text), "test.conf")
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

func openLogin(t *testing.T, reg *recorder) {
	t.Helper()
	s, err := newLogin(t, reg)
	runOnce(t, s, err)
}

func newLogin(t *testing.T, reg *recorder) (*loginserver.Server, error) {
	t.Helper()
	cfg := parse(t, loginserver.ParseConfig, `
ClientListenIP=127.0.0.1
ClientPort=%d
HttpListenIP=127.0.0.1
HttpPort=%d
MsgServerListenIP=127.0.0.1
MsgServerPort=%d
msfs=http://127.0.0.1:8700
discovery=http://127.0.0.1/api/discovery
`)
	return loginserver.New(cfg, loginserver.Deps{Log: discard, Reg: reg, Clock: time.Now})
}

func openMsg(t *testing.T, reg *recorder) {
	t.Helper()
	s, err := newMsg(t, reg)
	runOnce(t, s, err)
}

func newMsg(t *testing.T, reg *recorder) (*msgserver.Server, error) {
	t.Helper()
	trace.NewHandler("msg_server", nil, secret.Value{}, reg)
	cfg := parse(t, msgserver.ParseConfig, `
ListenIP=127.0.0.1
ListenPort=%d
IpAddr1=127.0.0.1
aesKey=`+textcrypt.StandardKey+`
DBServerIP1=127.0.0.1
DBServerPort1=%d
LoginServerIP1=127.0.0.1
LoginServerPort1=%d
RouteServerIP1=127.0.0.1
RouteServerPort1=%d
`)
	return msgserver.New(cfg, msgserver.Deps{Log: discard, Reg: reg, Clock: time.Now})
}

func openHTTP(t *testing.T, reg *recorder) {
	t.Helper()
	cfg := parse(t, httpserver.ParseConfig, `
ListenIP=127.0.0.1
ListenPort=%d
DBServerIP1=127.0.0.1
DBServerPort1=%d
RouteServerIP1=127.0.0.1
RouteServerPort1=%d
`)
	trace.NewHandler("http_msg_server", nil, secret.Value{}, reg)
	s, err := httpserver.New(cfg, httpserver.Deps{Log: discard, Reg: reg, Clock: time.Now})
	runOnce(t, s, err)
}

func openPush(t *testing.T, reg *recorder) {
	t.Helper()
	s, err := newPush(t, reg)
	runOnce(t, s, err)
}

func newPush(t *testing.T, reg *recorder) (*pushserver.Server, error) {
	t.Helper()
	cfg := parse(t, pushserver.ParseConfig, "ListenIP=127.0.0.1\nListenPort=%d\n")
	return pushserver.New(cfg, pushserver.Deps{Log: discard, Reg: reg, Clock: time.Now})
}

func openRoute(t *testing.T, reg *recorder) {
	t.Helper()
	s, err := newRoute(t, reg)
	runOnce(t, s, err)
}

func newRoute(t *testing.T, reg *recorder) (*routeserver.Server, error) {
	t.Helper()
	trace.NewHandler("route_server", nil, secret.Value{}, reg)
	cfg := parse(t, routeserver.ParseConfig, "ListenIP=127.0.0.1\nListenMsgPort=%d\n")
	return routeserver.New(cfg, routeserver.Deps{Log: discard, Reg: reg})
}

func openDB(t *testing.T, reg *recorder) {
	t.Helper()
	s, err := newDB(t, reg)
	runOnce(t, s, err)
}

func newDB(t *testing.T, reg *recorder) (*dbproxy.Server, error) {
	t.Helper()
	trace.NewHandler("db_proxy", nil, secret.Value{}, reg)
	cfg := parse(t, dbproxy.ParseConfig, `
ListenIP=127.0.0.1
ListenPort=%d
StoreDriver=sqlite
StorePath=`+filepath.Join(t.TempDir(), "teamtalk.db")+`
aesKey=`+textcrypt.StandardKey+`
`)
	return dbproxy.New(t.Context(), cfg, dbproxy.Deps{Log: discard, Reg: reg, Clock: time.Now})
}

func openFile(t *testing.T, reg *recorder) {
	t.Helper()
	s, err := newFile(t, reg)
	runOnce(t, s, err)
}

func newFile(t *testing.T, reg *recorder) (*fileserver.Server, error) {
	t.Helper()
	cfg := parse(t, fileserver.ParseConfig, `
ClientListenIP=127.0.0.1
ClientListenPort=%d
MsgServerListenIP=127.0.0.1
MsgServerListenPort=%d
DataDir=`+t.TempDir()+`
`)
	return fileserver.New(t.Context(), cfg, fileserver.Deps{Log: discard, Reg: reg, Clock: time.Now})
}

type role interface {
	Run(ctx context.Context) error
}

// runOnce lets a role give back what New opened.
func runOnce(t *testing.T, r role, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	ended, end := context.WithCancel(t.Context())
	end()
	if err := r.Run(ended); err != nil {
		t.Error(err)
	}
}
