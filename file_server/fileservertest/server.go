// Package fileservertest runs a real file_server for tests of clients. In
// place of a msg_server, the test says who may send and fetch files of
// messages.
package fileservertest

import (
	"context"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"teamtalk/client"
	"teamtalk/client/transfer"
	"teamtalk/file_server/fileserver"
	"teamtalk/internal/im"
	"teamtalk/internal/secret"
	"teamtalk/internal/share"
	"teamtalk/internal/testenv"
)

// Users of the only conversation.
const (
	Sender   im.UserID = 1
	Receiver im.UserID = 2
)

// MsgID is the id of every message.
const MsgID = 7

const tokenSecret = "a secret of the tests"

// Server is a file_server that runs for the length of a test.
type Server struct {
	URL   string       // where files of messages are
	Later atomic.Int64 // how far its clock is ahead, in nanoseconds
	Asked atomic.Int64 // tokens it was asked for
	Code  atomic.Int64 // the im.Code with which messages of files are answered
}

// Start starts a server with further lines of configuration.
func Start(t testing.TB, lines ...string) *Server {
	t.Helper()
	port := func() string {
		_, p, err := net.SplitHostPort(testenv.FreeAddr(t))
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	httpPort := port()
	s := &Server{URL: "http://127.0.0.1:" + httpPort + "/files/"}
	cfg, err := fileserver.ParseConfig(strings.NewReader(strings.Join(append([]string{
		"FileServerIp=127.0.0.1", "ClientListenIP=127.0.0.1", "ClientListenPort=" + port(),
		"MsgServerListenIP=127.0.0.1", "MsgServerListenPort=" + port(),
		"HttpListenIP=127.0.0.1", "HttpListenPort=" + httpPort,
		"FileTokenSecret=" + tokenSecret, "MinFree=0", "DataDir=" + filepath.Join(t.TempDir(), "files"),
	}, lines...), "\n")), "test.conf")
	if err != nil {
		t.Fatal(err)
	}
	role, err := fileserver.New(t.Context(), cfg, fileserver.Deps{
		Log: slog.New(slog.DiscardHandler), Reg: prometheus.NewRegistry(), Clock: s.now,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	var running sync.WaitGroup
	running.Go(func() {
		if err := role.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { cancel(); running.Wait() })
	s.linkMsgServer(t, cfg.MsgServerListen[0])
	return s
}

func (s *Server) now() time.Time {
	return time.Now().Add(time.Duration(s.Later.Load())) //nolint:forbidigo // the clock of tests begins with it
}

// Access gives a user a right to a file of the conversation.
func (s *Server) Access(user im.UserID, right share.Right) transfer.Access {
	return func(_ context.Context, id string) (client.FileAccess, error) {
		s.Asked.Add(1)
		if id == "" {
			id = share.NewID("abcdefgh")
		}
		token, _, err := share.NewSigner(secret.New(tokenSecret), s.now).
			Sign(share.Grant{Right: right, File: id, User: user, Conv: im.SingleOf(Sender, Receiver)})
		return client.FileAccess{ID: id, URL: s.URL, Token: token}, err
	}
}

// Up are the options by which the Sender sends.
func (s *Server) Up() transfer.Options {
	return transfer.Options{Access: s.Access(Sender, share.Upload)}
}

// Down are the options by which the Receiver fetches.
func (s *Server) Down() transfer.Options {
	return transfer.Options{Access: s.Access(Receiver, share.Download)}
}
