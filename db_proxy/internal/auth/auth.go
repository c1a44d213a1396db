// Package auth decides whether a log-in is who it says: argon2id hashes of
// what clients send, the legacy MD5 check beside them, a bounded memory of
// verified passwords that makes reconnects cheap, and a bounded count of
// failures that makes guessing slow. It keeps no password.
//
// Clients send the lowercase hex MD5 of the password and nothing else, so that
// string is what a password is here. Source: docs/protocol/wire.md §7;
// docs/protocol/flows.md §3.
package auth

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"

	"teamtalk/db_proxy/internal/store"
	"teamtalk/internal/im"
)

// Result is the outcome of an attempt. Its text is a metric label.
type Result string

// The results.
const (
	OK          Result = "ok"
	Wrong       Result = "wrong"       // no such name, it may not log in, or not its password
	TooMany     Result = "too_many"    // too many failures: not even looked at
	Unavailable Result = "unavailable" // the database did not answer in time
	Pending     Result = "pending"     // Finish must hash to know
)

// Users is where accounts and their passwords are.
type Users interface {
	// UserByName returns an account that may log in, else im.NotFound.
	UserByName(ctx context.Context, name string) (store.User, store.Credentials, error)
	// SetPasswordHash replaces the credentials was, im.NotFound if they are
	// not the user's any more, by the hash, and blanks the legacy columns if
	// told to.
	SetPasswordHash(ctx context.Context, user im.UserID, was store.Credentials, hash string, blankLegacy bool) error
}

// Config of an Auth. Zero fields take the defaults.
type Config struct {
	// KeepLegacy leaves the MD5 columns as they are, for an original that
	// runs beside; otherwise they are blanked at the next log-in.
	KeepLegacy bool
	Hashers    int // hashes at a time, 19 MiB each; 0 = one per CPU
	Remember   int // verified passwords remembered; 0 = 200,000
}

// Deps of an Auth. All are needed.
type Deps struct {
	Users Users
	// Background runs a task later, where hashing keeps nobody waiting, and
	// reports whether it will. It never blocks.
	Background func(task func()) bool
	Log        *slog.Logger
	Clock      func() time.Time
	Reg        prometheus.Registerer
}

// Auth verifies log-ins. It is safe from any goroutine.
type Auth struct {
	// Static after New.
	cfg     Config
	deps    Deps
	hashers chan struct{} // holds a token for each hash under way
	results *prometheus.CounterVec
	hashes  prometheus.Counter

	verified *verified
	failures *failures

	mu       sync.Mutex // guards renewing
	renewing map[im.UserID]struct{}
}

// How long storing a new hash may take in the background.
const renewFor = 10 * time.Second

// maxName is the width of IMUser.name in characters.
const maxName = 32

// New returns an Auth that remembers nothing yet.
func New(cfg Config, deps Deps) (*Auth, error) {
	if deps.Users == nil || deps.Background == nil || deps.Log == nil || deps.Clock == nil || deps.Reg == nil {
		return nil, errors.New("auth: all dependencies are needed")
	}
	if cfg.Hashers <= 0 {
		cfg.Hashers = runtime.GOMAXPROCS(0)
	}
	if cfg.Remember <= 0 {
		cfg.Remember = 200_000
	}
	a := &Auth{
		cfg: cfg, deps: deps,
		hashers:  make(chan struct{}, cfg.Hashers),
		verified: newVerified(cfg.Remember),
		failures: newFailures(maxFailing),
		renewing: map[im.UserID]struct{}{},
		results: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "im_logins_total", Help: "Log-ins by result.",
		}, []string{"result"}),
		hashes: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "im_password_hashes_total", Help: "argon2id hashes computed.",
		}),
	}
	deps.Reg.MustRegister(a.results, a.hashes)
	return a, nil
}

// Attempt is a log-in that Start could not decide.
type Attempt struct {
	password string
	failure  failureKey
	user     store.User
	cred     store.Credentials
	hash     phc // the zero value: nothing to compare with
}

// Verify decides a log-in, hashing if it must. addr is the client's address,
// with or without a port, or "" if it is not known.
func (a *Auth) Verify(ctx context.Context, name, md5, addr string) (store.User, Result) {
	attempt, user, result := a.Start(ctx, name, md5, addr)
	if result != Pending {
		return user, result
	}
	return a.Finish(ctx, attempt)
}

// Start decides a log-in if that needs no hash: a remembered password, a
// legacy one, or too many failures. It takes one read of the database. Every
// Pending attempt is followed by Finish or Abandon.
func (a *Auth) Start(ctx context.Context, name, md5, addr string) (*Attempt, store.User, Result) {
	attempt, result := a.start(ctx, name, md5, addr)
	switch result {
	case Pending:
		return attempt, store.User{}, Pending
	case OK:
		a.results.WithLabelValues(string(OK)).Inc()
		a.failures.clear(attempt.failure)
		return nil, attempt.user, OK
	case Wrong, TooMany, Unavailable:
	}
	a.results.WithLabelValues(string(result)).Inc()
	return nil, store.User{}, result
}

func (a *Auth) start(ctx context.Context, name, md5, addr string) (*Attempt, Result) {
	if name == "" || !utf8.ValidString(name) || utf8.RuneCountInString(name) > maxName || !isMD5(md5) {
		return nil, Wrong // no client sends that
	}
	t := &Attempt{password: md5, failure: failureKey{addr: hostOf(addr), name: name}}
	if a.failures.full(t.failure, a.deps.Clock()) {
		return nil, TooMany
	}
	var err error
	t.user, t.cred, err = a.deps.Users.UserByName(ctx, name)
	switch {
	case im.CodeOf(err) == im.NotFound:
		return a.pending(t)
	case err != nil:
		a.deps.Log.Warn("account not read", "error", err)
		return nil, Unavailable
	case t.user.Status != 0:
		return a.pending(t)
	}
	hash, _ := parsePHC(t.cred.Hash)
	if t.cred.Legacy != "" && hash.legacy != legacyDigest(t.cred) {
		// Nobody logged in since the MD5 was set, so it is the password, be
		// there a hash or not.
		if !matchesLegacy(t.cred, md5) {
			return a.pending(t)
		}
		a.renew(ctx, t)
		return t, OK
	}
	if a.verified.has(hash, md5) {
		a.renew(ctx, t)
		return t, OK
	}
	t.hash = hash
	return a.pending(t)
}

// pending counts the attempt as a failure before it is known to be one, so
// that many at once are no way around the limit.
func (a *Auth) pending(t *Attempt) (*Attempt, Result) {
	if !a.failures.add(t.failure, a.deps.Clock()) {
		return nil, TooMany
	}
	return t, Pending
}

// Abandon gives up an attempt that will not be finished.
func (a *Auth) Abandon(t *Attempt) {
	a.failures.forgive(t.failure)
	a.results.WithLabelValues(string(Unavailable)).Inc()
}

// Finish decides a pending attempt by one hash, tens of milliseconds; an
// unknown name takes as long as a wrong password. At most Config.Hashers run
// at a time, others wait as long as ctx allows.
func (a *Auth) Finish(ctx context.Context, t *Attempt) (store.User, Result) {
	select {
	case a.hashers <- struct{}{}:
	case <-ctx.Done():
		a.Abandon(t)
		return store.User{}, Unavailable
	}
	// Whoever waited may find that the same password was just proven.
	ok := a.verified.has(t.hash, t.password)
	if !ok {
		a.hashes.Inc()
		ok = t.hash.matches(t.password)
	}
	<-a.hashers
	if !ok {
		a.results.WithLabelValues(string(Wrong)).Inc()
		return store.User{}, Wrong
	}
	a.failures.clear(t.failure)
	a.verified.add(t.hash, t.password)
	// The account may have been closed while this waited for its hash, and its
	// log-ins were ended before this one was there.
	user, _, err := a.deps.Users.UserByName(ctx, t.user.Name)
	result := OK
	switch {
	case im.CodeOf(err) == im.NotFound:
		result = Wrong
	case err != nil:
		a.deps.Log.Warn("account not read", "error", err)
		result = Unavailable
	case user.ID != t.user.ID || user.Status != 0:
		result = Wrong
	}
	a.results.WithLabelValues(string(result)).Inc()
	if result != OK {
		return store.User{}, result
	}
	a.renew(ctx, t)
	return user, OK
}

// renew brings the stored form of a password that was just proven up to date,
// in the background: a hash for a legacy password, today's parameters, and no
// MD5 beside it unless it is to be kept. If there is no room, the next log-in
// does it.
func (a *Auth) renew(ctx context.Context, t *Attempt) {
	hash, ok := parsePHC(t.cred.Hash)
	cred := t.cred
	if !a.cfg.KeepLegacy {
		cred.Legacy = ""
	}
	current := ok && hash.current() && hash.legacy == legacyDigest(cred) && cred.Legacy == t.cred.Legacy
	if current || !a.begin(t.user.ID) {
		return
	}
	ctx = context.WithoutCancel(ctx)
	accepted := a.deps.Background(func() {
		defer a.end(t.user.ID)
		ctx, cancel := context.WithTimeout(ctx, renewFor)
		defer cancel()
		if err := a.store(ctx, t, cred); err != nil {
			a.deps.Log.Warn("password hash not stored", "user_id", uint32(t.user.ID), "error", err)
		}
	})
	if !accepted {
		a.end(t.user.ID)
	}
}

// store computes and stores a hash that belongs to cred.
func (a *Auth) store(ctx context.Context, t *Attempt, cred store.Credentials) error {
	select {
	case a.hashers <- struct{}{}:
	case <-ctx.Done():
		return fmt.Errorf("wait for a hasher: %w", ctx.Err())
	}
	a.hashes.Inc()
	hash := newPHC(t.password)
	<-a.hashers
	hash.legacy = legacyDigest(cred)
	blank := cred.Legacy == "" && t.cred.Legacy != ""
	err := a.deps.Users.SetPasswordHash(ctx, t.user.ID, t.cred, hash.String(), blank)
	switch {
	case im.CodeOf(err) == im.NotFound:
		return nil // somebody set another password meanwhile: that one stands
	case err != nil:
		return fmt.Errorf("store password hash: %w", err)
	}
	a.verified.add(hash, t.password)
	return nil
}

// begin reports whether nobody else renews the user's hash.
func (a *Auth) begin(user im.UserID) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, busy := a.renewing[user]; busy {
		return false
	}
	a.renewing[user] = struct{}{}
	return true
}

func (a *Auth) end(user im.UserID) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.renewing, user)
}
