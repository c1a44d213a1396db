package pushserver

import (
	"context"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/proto"

	"teamtalk/internal/im"
	"teamtalk/internal/link/linktest"
	"teamtalk/internal/testenv"
	"teamtalk/internal/wire"
	"teamtalk/pb/basedefine"
	"teamtalk/pb/server"
	"teamtalk/test/phones"
)

// start runs a push_server and returns its address and what ends it.
func start(t *testing.T, keys map[string]string) (addr string, stop func()) {
	t.Helper()
	_, addr, stop = run(t, keys)
	return addr, stop
}

func run(t *testing.T, keys map[string]string) (s *Server, addr string, stop func()) {
	t.Helper()
	addr = testenv.FreeAddr(t)
	_, port, _ := net.SplitHostPort(addr)
	cfg, err := ParseConfig(strings.NewReader(configText(port, keys)), "test.conf")
	if err != nil {
		t.Fatal(err)
	}
	s, err = New(cfg, Deps{Log: slog.New(slog.DiscardHandler), Reg: prometheus.NewRegistry(), Clock: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	var stopped bool
	stop = func() {
		cancel()
		if stopped {
			return
		}
		stopped = true
		if err := linktest.Wait(t, ended, "end of Run"); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(stop)
	linktest.Eventually(t, "readiness", func() bool { return s.Ready() == nil })
	return s, addr, stop
}

func configText(port string, keys map[string]string) string {
	lines := []string{"ListenIP=127.0.0.1", "ListenPort=" + port}
	for key, value := range keys {
		lines = append(lines, key+"="+value)
	}
	return strings.Join(lines, "\n")
}

// request asks for a push to each of the tokens.
func request(silent bool, tokens ...string) *server.IMPushToUserReq {
	req := &server.IMPushToUserReq{Flash: proto.String("bob:你好"), Data: proto.String(`{"msg_type":1}`)}
	for _, token := range tokens {
		kind, push := im.IOS, uint32(1)
		if strings.HasPrefix(token, "android") {
			kind = im.Android
		}
		if silent {
			push = pushSilent
		}
		req.UserTokenList = append(req.UserTokenList, &basedefine.UserTokenInfo{
			UserId: proto.Uint32(1), UserType: basedefine.ClientType(kind).Enum(), Token: proto.String(token),
			PushCount: proto.Uint32(3), PushType: proto.Uint32(push),
		})
	}
	return req
}

// answers reads 0710 and compares the result of each token.
func answers(t *testing.T, peer *linktest.Original, want map[string]uint32) {
	t.Helper()
	pdu := peer.Want(wire.PushToUserRes)
	res := new(server.IMPushToUserRsp)
	if err := proto.Unmarshal(pdu.Body, res); err != nil {
		t.Fatal(err)
	}
	got := map[string]uint32{}
	for _, r := range res.GetPushResultList() {
		got[r.GetUserToken()] = r.GetResultCode()
	}
	if !maps.Equal(got, want) || len(res.GetPushResultList()) != len(want) {
		t.Fatalf("results %v, want %v", got, want)
	}
}

// TestPush: what msg_servers hand over reaches Apple and Google, authorised by
// a token or by a certificate, is tried again where that helps, and is answered
// for each token.
func TestPush(t *testing.T) {
	t.Parallel()
	for name, credentials := range map[string]func(*phones.Services) map[string]string{
		"key": (*phones.Services).ByKey, "certificate": (*phones.Services).ByCertificate,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			services := phones.Start(t)
			addr, stop := start(t, credentials(services))
			peer := linktest.DialOriginal(t, addr)
			iphone, gone, busy := phones.IPhone("a"), phones.IPhone("gone"), phones.IPhone("busy")
			services.Gone(gone)
			services.Gone("android-gone")
			services.Busy(busy, http.StatusServiceUnavailable, 1)
			services.Busy("android-busy", http.StatusTooManyRequests, 1)
			want := map[string]uint32{
				iphone: resultOK, gone: resultGone, busy: resultOK, "short": resultFailed,
				"android-1": resultOK, "android-gone": resultGone, "android-busy": resultOK,
			}
			peer.Send(wire.PushToUserReq, 7, request(false, iphone, gone, busy, "short", "android-1", "android-gone", "android-busy"))
			answers(t, peer, want)
			for _, token := range []string{iphone, busy, "android-1", "android-busy"} {
				got, err := services.Take(t.Context(), token)
				if err != nil || got != (phones.Ring{Line: "bob:你好", Badge: 3, Data: `{"msg_type":1}`}) {
					t.Errorf("%s: %+v, %v", token, got, err)
				}
			}
			// Google's access token is renewed; a silent push shows nothing.
			services.Revoke()
			peer.Send(wire.PushToUserReq, 8, request(true, iphone, "android-1"))
			answers(t, peer, map[string]uint32{iphone: resultOK, "android-1": resultOK})
			for _, token := range []string{iphone, "android-1"} {
				got, err := services.Take(t.Context(), token)
				if err != nil || got != (phones.Ring{Badge: 3, Data: `{"msg_type":1}`}) {
					t.Errorf("%s, silent: %+v, %v", token, got, err)
				}
			}
			// A stop waits for what is under way, and answers it.
			services.Busy(iphone, http.StatusServiceUnavailable, 1)
			peer.Send(wire.PushToUserReq, 9, request(false, iphone))
			linktest.Eventually(t, "the first attempt", func() bool { return services.Requests(iphone) == 3 })
			stop()
			answers(t, peer, map[string]uint32{iphone: resultOK})
			if _, err := services.Take(t.Context(), iphone); err != nil {
				t.Error(err)
			}
			if left := services.Left(); len(left) > 0 {
				t.Errorf("more rang: %v", left)
			}
		})
	}
}

// TestRenew: credentials that were replaced on disk are used once the server is
// told, and files with a fault change nothing.
func TestRenew(t *testing.T) {
	t.Parallel()
	services, others := phones.Start(t), phones.Start(t)
	right, wrong, dir := services.ByCertificate(), others.ByCertificate(), t.TempDir()
	keys, files := maps.Clone(right), []string{"CertPath", "KeyPath", "FcmAccountFile"}
	for _, key := range files {
		keys[key] = filepath.Join(dir, key)
	}
	place := func(from map[string]string) {
		t.Helper()
		for _, key := range files {
			text, err := os.ReadFile(from[key])
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(keys[key], text, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	keys["MaxAttempts"] = "1"
	place(wrong)
	s, addr, _ := run(t, keys)
	peer := linktest.DialOriginal(t, addr)
	iphone := phones.IPhone("a")
	ask := func(want uint32) {
		t.Helper()
		peer.Send(wire.PushToUserReq, 7, request(false, iphone, "android-1"))
		answers(t, peer, map[string]uint32{iphone: want, "android-1": want})
	}
	ask(resultFailed)
	place(right)
	if err := s.Renew(); err != nil {
		t.Fatal(err)
	}
	ask(resultOK)
	if err := os.WriteFile(keys["CertPath"], []byte("none"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.Renew(); err == nil {
		t.Error("a file with a fault is taken")
	}
	ask(resultOK)
}

// TestNoEntry: without its certificate Apple's stand-in cannot even be
// connected to; a phone without a provider, and a request without phones, are
// answered all the same.
func TestNoEntry(t *testing.T) {
	t.Parallel()
	services := phones.Start(t)
	keys := services.ByKey()
	keys["ApnsUrl"] = services.ByCertificate()["ApnsUrl"]
	keys["MaxAttempts"] = "1"
	delete(keys, "FcmAccountFile")
	addr, _ := start(t, keys)
	peer := linktest.DialOriginal(t, addr)
	peer.Send(wire.PushToUserReq, 1, request(false, phones.IPhone("a"), "android"))
	answers(t, peer, map[string]uint32{phones.IPhone("a"): resultFailed, "android": resultFailed})
	peer.Send(wire.PushToUserReq, 2, request(false))
	answers(t, peer, map[string]uint32{})
}

// TestBadCredentials: what is wrong with them is said at the start.
func TestBadCredentials(t *testing.T) {
	t.Parallel()
	services := phones.Start(t)
	for name, change := range map[string]map[string]string{
		"a password that is wrong":     {"KeyPassword": "wrong"},
		"no password":                  {"KeyPassword": ""},
		"a certificate that is none":   {"CertPath": services.ByKey()["ApnsKeyFile"]},
		"a file that does not exist":   {"KeyPath": "/nowhere"},
		"an account that is none":      {"FcmAccountFile": services.ByKey()["ApnsKeyFile"]},
		"an authority that is none":    {"ProviderCAFile": services.ByKey()["FcmAccountFile"]},
		"a key of Apple that is none":  {"ApnsKeyFile": services.ByKey()["FcmAccountFile"]},
		"a key of Apple that is RSA's": {"ApnsKeyFile": services.ByKey()["ProviderCAFile"]},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			keys := services.ByCertificate()
			if change["ApnsKeyFile"] != "" {
				keys = services.ByKey()
			}
			maps.Copy(keys, change)
			cfg, err := ParseConfig(strings.NewReader(configText("1", keys)), "test.conf")
			if err != nil {
				t.Fatal(err)
			}
			_, err = New(cfg, Deps{Log: slog.New(slog.DiscardHandler), Reg: prometheus.NewRegistry(), Clock: time.Now})
			if err == nil {
				t.Fatal("it starts")
			}
			for key, value := range change {
				if value != "" && key != "KeyPassword" && !strings.Contains(err.Error(), key) || strings.Contains(err.Error(), "wrong") {
					t.Errorf("said: %v", err)
				}
			}
		})
	}
}
