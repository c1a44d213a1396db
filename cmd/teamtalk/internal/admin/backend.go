package admin

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"teamtalk/cmd/teamtalk/internal/exit"
	"teamtalk/cmd/teamtalk/internal/words"
	"teamtalk/db_proxy/dbproxy"
	"teamtalk/internal/config"
)

// Names in a data folder.
const (
	DataFile   = "teamtalk.db"
	SocketFile = "admin.sock"
)

// DefaultData is the data folder that commands use unless told otherwise.
const DefaultData = "data"

// Backend does what operators ask for. dbproxy.Admin is one; its methods are
// described there.
type Backend interface {
	AddUsers(ctx context.Context, specs []dbproxy.AccountSpec) ([]dbproxy.Account, error)
	ListUsers(ctx context.Context) ([]dbproxy.Account, error)
	SetPassword(ctx context.Context, name, password string) error
	SetEnabled(ctx context.Context, name string, enabled bool) error
	AddGroup(ctx context.Context, spec dbproxy.GroupSpec) (id uint32, existed bool, err error)
	Keys
	Inspector
}

// Keys are the keys of those who send over HTTP.
type Keys interface {
	AddAPIKey(ctx context.Context, spec dbproxy.KeySpec) (dbproxy.Key, error)
	APIKeys(ctx context.Context) ([]dbproxy.Key, error)
	RevokeAPIKey(ctx context.Context, id string) error
	RotateAPIKey(ctx context.Context, id string, grace time.Duration) (dbproxy.Key, error)
}

// Inspector looks into messages and counts.
type Inspector interface {
	Recount(ctx context.Context, spec dbproxy.RecountSpec) (dbproxy.RecountReport, error)
	Message(ctx context.Context, ref dbproxy.MessageRef) (dbproxy.MessageFacts, error)
}

// target says which accounts a command is about.
type target struct {
	data   string // data folder of "teamtalk serve"
	config string // dbproxyserver.conf; goes first
}

// open returns the backend of a target. Create makes a data folder that does
// not exist yet. The caller closes what it gets.
func (t *target) open(ctx context.Context, create bool) (Backend, func() error, error) {
	if t.config != "" {
		cfg, err := dbproxy.LoadConfig(t.config, config.Lenient(true)) // db_proxy judges its keys
		if err != nil {
			return nil, nil, exit.Usagef("%w", err)
		}
		return direct(ctx, cfg)
	}
	socket := filepath.Join(t.data, SocketFile)
	if remote := dialSocket(ctx, socket); remote != nil {
		return remote, remote.close, nil
	}
	file := filepath.Join(t.data, DataFile)
	if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) && !create {
		return nil, nil, words.Errorf(words.NoData, t.data)
	}
	return direct(ctx, dbproxy.Config{StoreDriver: "sqlite", StorePath: file})
}

// direct opens the database.
func direct(ctx context.Context, cfg dbproxy.Config) (Backend, func() error, error) {
	a, err := dbproxy.OpenAdmin(ctx, cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, nil, err
	}
	return a, a.Close, nil
}

// Explain makes an error one line for people, in English.
func Explain(err error) string { return words.English.Explain(err) }
