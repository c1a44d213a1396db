package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"teamtalk/db_proxy/dbproxy"
	"teamtalk/internal/im"
)

const (
	maxRequest  = 16 << 20 // bytes; 2,000 accounts take some 200 KB
	dialTimeout = 2 * time.Second
	drainTime   = 5 * time.Second
)

// The requests over the socket; each is the JSON body of a POST.
type (
	addUsers struct {
		Users []dbproxy.AccountSpec `json:"users"`
	}
	setPassword struct {
		Name     string `json:"name"`
		Password string `json:"password"`
	}
	setEnabled struct {
		Name    string `json:"name"`
		Enabled bool   `json:"enabled"`
	}
	addedGroup struct {
		ID      uint32 `json:"id"`
		Existed bool   `json:"existed"`
	}
	rotateKey struct {
		ID    string        `json:"id"`
		Grace time.Duration `json:"grace"`
	}
	failure struct {
		Error   string  `json:"error"`
		Code    im.Code `json:"code"`
		Missing string  `json:"missing,omitempty"` // of a dbproxy.MissingUserError
	}
	none struct{}
)

// Listen makes the socket of a data folder, for its owner only. A socket left
// behind by a process that crashed is replaced: the caller has the folder.
func Listen(ctx context.Context, data string) (net.Listener, error) {
	path := filepath.Join(data, SocketFile)
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("remove old socket: %w", err)
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "unix", short(path))
	if err != nil {
		return nil, fmt.Errorf("open socket %s: %w", path, err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("protect socket: %w", err), l.Close())
	}
	return l, nil
}

// short returns the shorter of the two names of a file: a socket's name has
// room for about a hundred characters.
func short(path string) string {
	absolute, err := filepath.Abs(path)
	if err != nil {
		return path
	}
	wd, err := os.Getwd()
	if err != nil {
		return absolute
	}
	if relative, err := filepath.Rel(wd, absolute); err == nil && len(relative) < len(absolute) {
		return relative
	}
	return absolute
}

// Serve answers on the socket until ctx ends. It closes l.
func Serve(ctx context.Context, l net.Listener, b Backend, log *slog.Logger) error {
	mux := http.NewServeMux()
	handle(mux, "/users/add", log, func(ctx context.Context, r addUsers) ([]dbproxy.Account, error) {
		return b.AddUsers(ctx, r.Users)
	})
	handle(mux, "/users/list", log, func(ctx context.Context, _ none) ([]dbproxy.Account, error) {
		return b.ListUsers(ctx)
	})
	handle(mux, "/users/password", log, func(ctx context.Context, r setPassword) (none, error) {
		return none{}, b.SetPassword(ctx, r.Name, r.Password)
	})
	handle(mux, "/users/enabled", log, func(ctx context.Context, r setEnabled) (none, error) {
		return none{}, b.SetEnabled(ctx, r.Name, r.Enabled)
	})
	handle(mux, "/groups/add", log, func(ctx context.Context, r dbproxy.GroupSpec) (addedGroup, error) {
		id, existed, err := b.AddGroup(ctx, r)
		return addedGroup{id, existed}, err
	})
	handle(mux, "/recount", log, b.Recount)
	handle(mux, "/apikeys/add", log, b.AddAPIKey)
	handle(mux, "/apikeys/list", log, func(ctx context.Context, _ none) ([]dbproxy.Key, error) {
		return b.APIKeys(ctx)
	})
	handle(mux, "/apikeys/revoke", log, func(ctx context.Context, id string) (none, error) {
		return none{}, b.RevokeAPIKey(ctx, id)
	})
	handle(mux, "/apikeys/rotate", log, func(ctx context.Context, r rotateKey) (dbproxy.Key, error) {
		return b.RotateAPIKey(ctx, r.ID, r.Grace)
	})
	handle(mux, "/message", log, b.Message)
	server := &http.Server{
		Handler: mux, ReadHeaderTimeout: dialTimeout, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	stopped := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() {
		draining, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTime)
		defer cancel()
		stopped <- server.Shutdown(draining)
	})
	err := server.Serve(l)
	if !stop() {
		err = <-stopped
	}
	if err != nil {
		return fmt.Errorf("serve operators: %w", err)
	}
	return nil
}

// handle answers one kind of request.
func handle[Req, Res any](mux *http.ServeMux, path string, log *slog.Logger,
	do func(context.Context, Req) (Res, error),
) {
	mux.HandleFunc("POST "+path, func(w http.ResponseWriter, r *http.Request) {
		var req Req
		answer, status := any(nil), http.StatusOK
		err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxRequest)).Decode(&req)
		if err != nil {
			err = im.Wrap(im.Invalid, "read the request", err)
		} else {
			answer, err = do(r.Context(), req)
		}
		if err != nil {
			log.Warn("operator's request failed", slog.String("request", path), slog.Any("error", err))
			answer, status = refusal(err), http.StatusUnprocessableEntity
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(answer) // whoever asked may have gone
	})
}

// refusal is an error as it goes over the socket.
func refusal(err error) failure {
	f := failure{Error: Explain(err), Code: im.CodeOf(err)}
	if missing, ok := errors.AsType[*dbproxy.MissingUserError](err); ok {
		f.Missing = missing.Name
	}
	return f
}

// Running reports whether "teamtalk serve" answers for a data folder.
func Running(ctx context.Context, data string) bool {
	return dialSocket(ctx, filepath.Join(data, SocketFile)) != nil
}

// remote is the Backend of a running "teamtalk serve".
type remote struct{ client http.Client }

// dialSocket returns the Backend behind a socket, nil if nobody answers there.
func dialSocket(ctx context.Context, path string) *remote {
	dialer := net.Dialer{Timeout: dialTimeout}
	dial := func(ctx context.Context) (net.Conn, error) { return dialer.DialContext(ctx, "unix", short(path)) }
	probe, err := dial(ctx)
	if err != nil {
		return nil
	}
	_ = probe.Close() // it has told what it had to
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx) },
	}
	return &remote{http.Client{Transport: transport}}
}

// close lets go of the connection.
func (r *remote) close() error {
	r.client.CloseIdleConnections()
	return nil
}

// call makes one request.
func (r *remote) call(ctx context.Context, path string, request, answer any) error {
	body, err := json.Marshal(request)
	if err != nil {
		return fmt.Errorf("encode request: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://teamtalk"+path, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("make request: %w", err)
	}
	res, err := r.client.Do(req)
	if err != nil {
		return fmt.Errorf("ask the running server: %w", err)
	}
	defer func() { _ = res.Body.Close() }()
	data, err := io.ReadAll(res.Body)
	if err != nil {
		return fmt.Errorf("ask the running server: %w", err)
	}
	if res.StatusCode != http.StatusOK {
		var f failure
		if json.Unmarshal(data, &f) != nil || f.Error == "" {
			return fmt.Errorf("the running server answers %s", res.Status)
		}
		if f.Missing != "" {
			return &dbproxy.MissingUserError{Name: f.Missing}
		}
		return im.Errorf(f.Code, "%s", f.Error)
	}
	if err := json.Unmarshal(data, answer); err != nil {
		return fmt.Errorf("read the running server's answer: %w", err)
	}
	return nil
}

// AddUsers implements Backend.
func (r *remote) AddUsers(ctx context.Context, specs []dbproxy.AccountSpec) (made []dbproxy.Account, err error) {
	err = r.call(ctx, "/users/add", addUsers{specs}, &made)
	return made, err
}

// ListUsers implements Backend.
func (r *remote) ListUsers(ctx context.Context) (all []dbproxy.Account, err error) {
	err = r.call(ctx, "/users/list", none{}, &all)
	return all, err
}

// SetPassword implements Backend.
func (r *remote) SetPassword(ctx context.Context, name, password string) error {
	return r.call(ctx, "/users/password", setPassword{name, password}, &none{})
}

// SetEnabled implements Backend.
func (r *remote) SetEnabled(ctx context.Context, name string, enabled bool) error {
	return r.call(ctx, "/users/enabled", setEnabled{name, enabled}, &none{})
}

// AddGroup implements Backend.
func (r *remote) AddGroup(ctx context.Context, spec dbproxy.GroupSpec) (id uint32, existed bool, err error) {
	var made addedGroup
	err = r.call(ctx, "/groups/add", spec, &made)
	return made.ID, made.Existed, err
}

// Recount implements Backend.
func (r *remote) Recount(ctx context.Context, spec dbproxy.RecountSpec) (report dbproxy.RecountReport, err error) {
	err = r.call(ctx, "/recount", spec, &report)
	return report, err
}

// AddAPIKey implements Backend.
func (r *remote) AddAPIKey(ctx context.Context, spec dbproxy.KeySpec) (made dbproxy.Key, err error) {
	err = r.call(ctx, "/apikeys/add", spec, &made)
	return made, err
}

// APIKeys implements Backend.
func (r *remote) APIKeys(ctx context.Context) (all []dbproxy.Key, err error) {
	err = r.call(ctx, "/apikeys/list", none{}, &all)
	return all, err
}

// RevokeAPIKey implements Backend.
func (r *remote) RevokeAPIKey(ctx context.Context, id string) error {
	return r.call(ctx, "/apikeys/revoke", id, &none{})
}

// RotateAPIKey implements Backend.
func (r *remote) RotateAPIKey(ctx context.Context, id string, grace time.Duration) (made dbproxy.Key, err error) {
	err = r.call(ctx, "/apikeys/rotate", rotateKey{id, grace}, &made)
	return made, err
}

// Message implements Backend.
func (r *remote) Message(ctx context.Context, ref dbproxy.MessageRef) (facts dbproxy.MessageFacts, err error) {
	err = r.call(ctx, "/message", ref, &facts)
	return facts, err
}
