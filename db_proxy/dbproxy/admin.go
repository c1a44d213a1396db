package dbproxy

import (
	"context"
	"crypto/md5" //nolint:gosec // the protocol's: clients send the MD5 of the password
	"encoding/hex"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"teamtalk/db_proxy/internal/auth"
	"teamtalk/db_proxy/internal/cache"
	"teamtalk/db_proxy/internal/store"
	"teamtalk/internal/im"
)

// Admin is what operators do to accounts and groups, and ask about messages and
// counts. Changes reach every running db_proxy through the change log within
// half a second.
type Admin struct {
	store *store.Store

	owned bool   // opened by OpenAdmin: Close closes the store
	cfg   Config // owned only

	// Of the running server, when not owned.
	cache  *cache.Cache
	forget func(im.Conversation)
}

// OpenAdmin opens the database of a configuration. It can work beside running
// db_proxies on MySQL; a SQLite file has one process at a time.
func OpenAdmin(ctx context.Context, cfg Config, log *slog.Logger) (*Admin, error) {
	s, err := store.Open(ctx, cfg.store(), store.Deps{Log: log, Clock: time.Now}) //nolint:forbidigo // of a tool
	if err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	return &Admin{store: s, owned: true, cfg: cfg}, nil
}

// Admin returns the operators' side of a running db_proxy. It is valid until
// Run returns.
func (s *Server) Admin() *Admin {
	return &Admin{store: s.store, cache: s.cache, forget: s.lanes.Forget}
}

// Close closes the database if OpenAdmin opened it.
func (a *Admin) Close() error {
	if a.owned {
		return a.store.Close()
	}
	return nil
}

// Status of an account. Source: docs/protocol/storage.md, IMUser.
const (
	StatusActive = 0 // may log in
	StatusLeft   = 3 // disabled
)

// AccountSpec is an account to create. Nick "" takes the name; Department 0
// takes none.
type AccountSpec struct {
	Name, Nick, Password string
	Department           uint32
}

// Account is what operators see of an account.
type Account struct {
	ID      uint32 `json:"id"`
	Name    string `json:"name"`
	Nick    string `json:"nick"`
	Status  uint8  `json:"status"`
	Existed bool   `json:"existed,omitempty"` // AddUsers left it alone
}

// AddUsers creates accounts and returns one answer each, in order; an
// existing name is left alone. Accounts that are given one password in one
// call share its salted hash, so that thousands take no longer than one.
func (a *Admin) AddUsers(ctx context.Context, specs []AccountSpec) ([]Account, error) {
	hashes := map[string]string{}
	users := make([]store.NewUser, len(specs))
	for i, spec := range specs {
		if spec.Password == "" {
			return nil, im.Errorf(im.Invalid, "account %q needs a password", spec.Name)
		}
		hash, ok := hashes[spec.Password]
		if !ok {
			hash = auth.Hash(clientMD5(spec.Password))
			hashes[spec.Password] = hash
		}
		nick := spec.Nick
		if nick == "" {
			nick = spec.Name
		}
		users[i] = store.NewUser{
			Name: spec.Name, Nick: nick, Department: spec.Department,
			Credentials: store.Credentials{Hash: hash},
		}
	}
	made, err := a.store.CreateUsers(ctx, users)
	if err != nil {
		return nil, err
	}
	out := make([]Account, len(made))
	for i, m := range made {
		out[i] = Account{ID: uint32(m.ID), Name: users[i].Name, Nick: users[i].Nick, Existed: m.Existed}
	}
	return out, nil
}

// clientMD5 is what a client sends for a password.
// Source: docs/protocol/wire.md §7.
func clientMD5(password string) string {
	sum := md5.Sum([]byte(password)) //nolint:gosec // the protocol's
	return hex.EncodeToString(sum[:])
}

// ListUsers returns all accounts in ascending id.
func (a *Admin) ListUsers(ctx context.Context) ([]Account, error) {
	users, err := a.store.ListUsers(ctx)
	if err != nil {
		return nil, err
	}
	out := make([]Account, len(users))
	for i, u := range users {
		out[i] = Account{ID: uint32(u.ID), Name: u.Name, Nick: u.Nick, Status: u.Status}
	}
	return out, nil
}

// SetPassword replaces a password; im.NotFound if there is no such account.
func (a *Admin) SetPassword(ctx context.Context, name, password string) error {
	if password == "" {
		return im.Errorf(im.Invalid, "the password is empty")
	}
	return a.store.SetUserPassword(ctx, name, store.Credentials{Hash: auth.Hash(clientMD5(password))})
}

// SetEnabled allows or forbids an account to log in and to send; im.NotFound
// if there is no such account.
func (a *Admin) SetEnabled(ctx context.Context, name string, enabled bool) error {
	status := uint8(StatusLeft)
	if enabled {
		status = StatusActive
	}
	return a.store.SetUserStatus(ctx, name, status)
}

// MissingUserError is an im.NotFound that says which account does not exist.
type MissingUserError struct{ Name string }

func (e *MissingUserError) Error() string { return fmt.Sprintf("no user %q", e.Name) }

// Unwrap returns the error with the code.
func (e *MissingUserError) Unwrap() error { return im.Errorf(im.NotFound, "no user %q", e.Name) }

// GroupSpec is a group to create. Creator "" means nobody; they are not added
// to Members.
type GroupSpec struct {
	Name    string
	Creator string
	Members []string
	Normal  bool // a normal group, listed by 0401; otherwise a temporary one
}

// AddGroup creates a group of existing accounts; a *MissingUserError names one
// that does not exist. An existing group of that name is left alone and
// reported.
func (a *Admin) AddGroup(ctx context.Context, spec GroupSpec) (id uint32, existed bool, err error) {
	if strings.TrimSpace(spec.Name) == "" || len(spec.Members) == 0 {
		return 0, false, im.Errorf(im.Invalid, "a group needs a name and members")
	}
	if found, err := a.store.GroupByName(ctx, spec.Name); err == nil {
		return uint32(found), true, nil
	} else if im.CodeOf(err) != im.NotFound {
		return 0, false, err
	}
	names := spec.Members
	if spec.Creator != "" {
		names = append([]string{spec.Creator}, names...)
	}
	users, err := a.store.FindUsers(ctx, names)
	if err != nil {
		return 0, false, err
	}
	ids := make(map[string]im.UserID, len(users))
	for _, u := range users {
		ids[u.Name] = u.ID
	}
	for _, name := range names {
		if ids[name] == 0 {
			return 0, false, &MissingUserError{name}
		}
	}
	group := store.NewGroup{Name: spec.Name, Creator: ids[spec.Creator], Type: 2}
	if spec.Normal {
		group.Type = 1
	}
	for _, name := range spec.Members {
		group.Members = append(group.Members, ids[name])
	}
	made, err := a.store.CreateGroup(ctx, group)
	return uint32(made), false, err
}

// AddDepartment creates a department unless one of that name exists.
func (a *Admin) AddDepartment(ctx context.Context, name string) (id uint32, err error) {
	return a.store.EnsureDepartment(ctx, name)
}
