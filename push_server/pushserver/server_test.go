package pushserver

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/proto"

	"teamtalk/internal/link/linktest"
	"teamtalk/internal/wire"
	"teamtalk/pb/basedefine"
	"teamtalk/pb/server"
)

// standIn is Apple or Google over TLS and HTTP/2. answer gets the number of
// the request for its path, from 1 up.
func standIn(t *testing.T, answer func(w http.ResponseWriter, r *http.Request, body string, n int)) *httptest.Server {
	t.Helper()
	var mu sync.Mutex
	seen := map[string]int{}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		seen[r.URL.Path]++
		n := seen[r.URL.Path]
		mu.Unlock()
		if r.ProtoMajor != 2 {
			w.WriteHeader(http.StatusHTTPVersionNotSupported)
			return
		}
		answer(w, r, string(body), n)
	}))
	s.EnableHTTP2 = true
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

func pemFile(t *testing.T, name, kind string, der []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// TestPush: what msg_servers hand over reaches Apple and Google, is tried
// again where that helps, and is answered for each token.
func TestPush(t *testing.T) {
	t.Parallel()
	token := func(c string) string { return strings.Repeat(c, 64) }
	var mu sync.Mutex
	bodies := map[string]string{}
	apple := standIn(t, func(w http.ResponseWriter, r *http.Request, body string, n int) {
		mu.Lock()
		bodies[r.URL.Path] = body
		mu.Unlock()
		switch {
		case !strings.HasPrefix(r.Header.Get("Authorization"), "bearer ey") || r.Header.Get("apns-topic") != "com.example.tt":
			w.WriteHeader(http.StatusForbidden)
		case strings.HasSuffix(r.URL.Path, token("b")):
			w.WriteHeader(http.StatusGone)
		case strings.HasSuffix(r.URL.Path, token("c")) && n < 3:
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	google := standIn(t, func(w http.ResponseWriter, r *http.Request, body string, _ int) {
		switch {
		case r.URL.Path == "/token":
			_, _ = io.WriteString(w, `{"access_token":"granted","expires_in":3600}`)
		case r.Header.Get("Authorization") != "Bearer granted":
			w.WriteHeader(http.StatusUnauthorized)
		case strings.Contains(body, "android-gone"):
			w.WriteHeader(http.StatusNotFound)
			_, _ = io.WriteString(w, `{"error":{"status":"NOT_FOUND","details":[{"errorCode":"UNREGISTERED"}]}}`)
		}
	})
	p8 := must(x509.MarshalPKCS8PrivateKey(must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))))
	rsaKey := must(x509.MarshalPKCS8PrivateKey(must(rsa.GenerateKey(rand.Reader, 2048))))
	account := filepath.Join(t.TempDir(), "account.json")
	text := must(json.Marshal(map[string]string{
		"type": "service_account", "project_id": "tt", "client_email": "x@y", "token_uri": google.URL + "/token",
		"private_key": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: rsaKey})),
	}))
	if err := os.WriteFile(account, text, 0o600); err != nil {
		t.Fatal(err)
	}
	addr := linktest.FreeAddr(t)
	_, port, _ := net.SplitHostPort(addr)
	cfg, err := ParseConfig(strings.NewReader(strings.Join([]string{
		"ListenIP=127.0.0.1", "ListenPort=" + port, "ApnsKeyFile=" + pemFile(t, "k.p8", "PRIVATE KEY", p8),
		"ApnsKeyID=ABCDEFGHIJ", "ApnsTeamID=KLMNOPQRST", "ApnsTopic=com.example.tt", "ApnsUrl=" + apple.URL,
		"FcmAccountFile=" + account, "FcmUrl=" + google.URL,
		"ProviderCAFile=" + pemFile(t, "ca.pem", "CERTIFICATE", apple.Certificate().Raw),
	}, "\n")), "test.conf")
	if err != nil {
		t.Fatal(err)
	}
	s, err := New(cfg, Deps{Log: slog.New(slog.DiscardHandler), Reg: prometheus.NewRegistry(), Clock: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := linktest.Wait(t, ended, "end of Run"); err != nil {
			t.Error(err)
		}
	})
	linktest.Eventually(t, "readiness", func() bool { return s.Ready() == nil })
	peer := linktest.DialOriginal(t, addr)
	req := &server.IMPushToUserReq{Flash: proto.String("bob:你好"), Data: proto.String(`{"msg_type":1}`)}
	want := map[string]uint32{
		token("a"): 0, token("b"): 2, token("c"): 0, "short": 1, "android-1": 0, "android-gone": 2,
	}
	for name := range want {
		kind := basedefine.ClientType_CLIENT_TYPE_IOS
		if strings.HasPrefix(name, "android") {
			kind = basedefine.ClientType_CLIENT_TYPE_ANDROID
		}
		req.UserTokenList = append(req.UserTokenList, &basedefine.UserTokenInfo{
			UserId: proto.Uint32(1), UserType: kind.Enum(), Token: proto.String(name),
			PushCount: proto.Uint32(3), PushType: proto.Uint32(1),
		})
	}
	peer.Send(wire.PushToUserReq, 7, req)
	res := new(server.IMPushToUserRsp)
	if err := proto.Unmarshal(peer.Want(wire.PushToUserRes).Body, res); err != nil {
		t.Fatal(err)
	}
	for _, r := range res.GetPushResultList() {
		if r.GetResultCode() != want[r.GetUserToken()] {
			t.Errorf("%s: result %d, want %d", r.GetUserToken(), r.GetResultCode(), want[r.GetUserToken()])
		}
	}
	if len(res.GetPushResultList()) != len(want) {
		t.Errorf("%d results", len(res.GetPushResultList()))
	}
	mu.Lock()
	defer mu.Unlock()
	const payload = `{"aps":{"alert":{"body":"bob:你好"},"badge":3,"sound":"bingbong.aiff"},"custom":"{\"msg_type\":1}"}`
	if got := bodies["/3/device/"+token("a")]; got != payload {
		t.Errorf("payload %s, want %s", got, payload)
	}
}
