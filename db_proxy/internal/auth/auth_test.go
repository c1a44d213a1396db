package auth

import (
	"context"
	"crypto/md5" // the protocol's
	"encoding/hex"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"teamtalk/db_proxy/internal/store"
	"teamtalk/internal/im"
)

func md5Hex(s string) string {
	sum := md5.Sum([]byte(s)) // the protocol's
	return hex.EncodeToString(sum[:])
}

// The worked example of docs/protocol/wire.md §7.
const (
	example       = "827ccb0eea8a706c4c34a16891f84e7b" // 12345
	exampleSalt   = "1234"
	exampleLegacy = "e63d43d38a008d9ca3cfdef06f6ac223"
)

// accounts is the table of users in memory.
type accounts struct {
	mu    sync.Mutex
	users map[string]*account
	err   error
}

type account struct {
	store.User
	store.Credentials
}

func (a *accounts) UserByName(_ context.Context, name string) (store.User, store.Credentials, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.err != nil {
		return store.User{}, store.Credentials{}, a.err
	}
	u := a.users[name]
	if u == nil {
		return store.User{}, store.Credentials{}, im.Errorf(im.NotFound, "no such user")
	}
	return u.User, u.Credentials, nil
}

func (a *accounts) SetPasswordHash(
	_ context.Context, id im.UserID, was store.Credentials, hash string, blank bool,
) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, u := range a.users {
		if u.ID == id && u.Credentials == was {
			u.Hash = hash
			if blank {
				u.Legacy, u.Salt = "", ""
			}
			return nil
		}
	}
	return im.Errorf(im.NotFound, "no such user")
}

func (a *accounts) alice() store.Credentials {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.users["alice"].Credentials
}

// fixture is an Auth whose background tasks run when the test says so.
type fixture struct {
	*Auth
	accounts *accounts
	later    []func()
	now      time.Time
}

func newFixture(t testing.TB, cfg Config) *fixture {
	t.Helper()
	f := &fixture{
		accounts: &accounts{users: map[string]*account{}},
		now:      time.Unix(1_700_000_000, 0),
	}
	a, err := New(cfg, Deps{
		Users:      f.accounts,
		Background: func(task func()) bool { f.later = append(f.later, task); return true },
		Log:        slog.New(slog.DiscardHandler),
		Clock:      func() time.Time { return f.now },
		Reg:        prometheus.NewRegistry(),
	})
	if err != nil {
		t.Fatal(err)
	}
	f.Auth = a
	return f
}

func (f *fixture) addUser(id im.UserID, name string, c store.Credentials) {
	f.accounts.users[name] = &account{User: store.User{ID: id, Name: name}, Credentials: c}
}

func (f *fixture) runLater() {
	for _, task := range f.later {
		task()
	}
	f.later = nil
}

func (f *fixture) hashed() int { return int(testutil.ToFloat64(f.hashes)) }

func (f *fixture) want(t *testing.T, name, password string, want Result) {
	t.Helper()
	user, got := f.Verify(t.Context(), name, password, "10.0.0.1:4000")
	if got != want || (got == OK) != (user.ID != 0) {
		t.Errorf("%s: %s with user %d, want %s", name, got, user.ID, want)
	}
}

func TestLegacyExample(t *testing.T) {
	t.Parallel()
	if md5Hex("12345") != example {
		t.Fatal("the example's first step")
	}
	c := store.Credentials{Legacy: exampleLegacy, Salt: exampleSalt}
	if !matchesLegacy(c, example) || matchesLegacy(c, md5Hex("12346")) || matchesLegacy(store.Credentials{}, example) {
		t.Error("the example's second step")
	}
}

func TestLegacyBecomesHash(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		keep bool
		left string
	}{"kept": {true, exampleLegacy}, "blanked": {false, ""}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, Config{KeepLegacy: tt.keep})
			f.addUser(1, "alice", store.Credentials{Legacy: exampleLegacy, Salt: exampleSalt})
			f.want(t, "alice", example, OK)
			f.want(t, "alice", example, OK)
			if len(f.later) != 1 || f.hashed() != 0 {
				t.Errorf("%d tasks, %d hashes before the reply", len(f.later), f.hashed())
			}
			f.runLater()
			c := f.accounts.alice()
			if c.Legacy != tt.left || !strings.HasPrefix(c.Hash, "$argon2id$v=19$m=19456,t=2,p=1") {
				t.Errorf("stored %+v", c)
			}
			if strings.Contains(c.Hash, ",l=") != tt.keep {
				t.Errorf("digest of the MD5 in %s", c.Hash)
			}
			f.want(t, "alice", example, OK)
			f.want(t, "alice", md5Hex("x"), Wrong)
			if len(f.later) != 0 || f.hashed() != 2 {
				t.Errorf("%d tasks, %d hashes; want none and 2", len(f.later), f.hashed())
			}
		})
	}
}

// Another process, or one that starts, knows nothing of what was verified.
func TestHashAlone(t *testing.T) {
	t.Parallel()
	f := newFixture(t, Config{})
	f.addUser(1, "alice", store.Credentials{Hash: Hash(example)})
	f.want(t, "alice", example, OK)
	f.want(t, "alice", example, OK)
	f.want(t, "alice", md5Hex("x"), Wrong)
	if f.hashed() != 2 || len(f.later) != 0 {
		t.Errorf("%d hashes, %d tasks; want 2 and none", f.hashed(), len(f.later))
	}
}

func TestSharedHash(t *testing.T) {
	t.Parallel()
	f := newFixture(t, Config{})
	shared := store.Credentials{Hash: Hash(example)}
	for i := range im.UserID(50) {
		f.addUser(i+1, fmt.Sprintf("u%d", i), shared)
		f.want(t, fmt.Sprintf("u%d", i), example, OK)
	}
	if f.hashed() != 1 {
		t.Errorf("%d hashes for 50 accounts with one hash", f.hashed())
	}
}

// An administration site sets the MD5 columns and knows no hash.
func TestChangedFromOutside(t *testing.T) {
	t.Parallel()
	for _, keep := range []bool{true, false} {
		t.Run(fmt.Sprintf("keep=%v", keep), func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, Config{KeepLegacy: keep})
			f.addUser(1, "alice", store.Credentials{Legacy: exampleLegacy, Salt: exampleSalt})
			f.want(t, "alice", example, OK)
			f.runLater()
			newer := md5Hex("newer")
			f.accounts.users["alice"].Legacy, f.accounts.users["alice"].Salt = md5Hex(newer+"77"), "77"
			f.want(t, "alice", example, Wrong)
			f.want(t, "alice", newer, OK)
			f.runLater()
			f.want(t, "alice", newer, OK)
			f.want(t, "alice", example, Wrong)
			// An operator of ours sets a hash and blanks the columns.
			f.accounts.users["alice"].Credentials = store.Credentials{Hash: Hash(example)}
			f.want(t, "alice", newer, Wrong)
			f.want(t, "alice", example, OK)
		})
	}
}

// The password changes while the old one's hash is being made.
func TestChangedMeanwhile(t *testing.T) {
	t.Parallel()
	f := newFixture(t, Config{})
	f.addUser(1, "alice", store.Credentials{Legacy: exampleLegacy, Salt: exampleSalt})
	f.want(t, "alice", example, OK)
	newer := store.Credentials{Hash: Hash(md5Hex("newer"))}
	f.accounts.users["alice"].Credentials = newer
	f.runLater()
	if f.accounts.alice() != newer {
		t.Error("the older password was stored over the newer one")
	}
}

func TestKeptColumnsAreBlanked(t *testing.T) {
	t.Parallel()
	f := newFixture(t, Config{KeepLegacy: true})
	f.addUser(1, "alice", store.Credentials{Legacy: exampleLegacy, Salt: exampleSalt})
	f.want(t, "alice", example, OK)
	f.runLater()
	f.cfg.KeepLegacy = false
	f.want(t, "alice", example, OK)
	f.runLater()
	if c := f.accounts.alice(); c.Legacy != "" || strings.Contains(c.Hash, ",l=") {
		t.Errorf("left %+v", c)
	}
	f.want(t, "alice", example, OK)
}

func TestOldParametersAreRenewed(t *testing.T) {
	t.Parallel()
	f := newFixture(t, Config{})
	old := phc{memory: 64, passes: 1, threads: 1, salt: "12345678"}
	old.key = string(old.derive(example, keySize))
	f.addUser(1, "alice", store.Credentials{Hash: old.String()})
	f.want(t, "alice", example, OK)
	f.runLater()
	if h, ok := parsePHC(f.accounts.alice().Hash); !ok || !h.current() {
		t.Errorf("stored %s", f.accounts.alice().Hash)
	}
	f.want(t, "alice", example, OK)
}

func TestWrong(t *testing.T) {
	t.Parallel()
	f := newFixture(t, Config{})
	f.addUser(1, "alice", store.Credentials{Legacy: exampleLegacy, Salt: exampleSalt})
	f.addUser(2, "left", store.Credentials{Hash: Hash(example)})
	f.accounts.users["left"].Status = 3
	f.addUser(3, "none", store.Credentials{})
	f.addUser(4, "broken", store.Credentials{Hash: "$argon2id$v=19$m=1,t=1,p=1$$"})
	slow := []string{"alice", "nobody", "left", "none", "broken"}
	for i, name := range slow {
		password := example
		if name == "alice" {
			password = md5Hex("x")
		}
		f.want(t, name, password, Wrong)
		if f.hashed() != i+1 {
			t.Errorf("%s: not as slow as a wrong password", name)
		}
	}
	for name, password := range map[string]string{
		"": example, strings.Repeat("a", 33): example, "\xff": example,
		"alice": strings.ToUpper(example), "bob": "", "carol": example + "0",
	} {
		f.want(t, name, password, Wrong)
	}
	if f.hashed() != len(slow) {
		t.Error("hashed what no client sends")
	}
}

func TestUnavailable(t *testing.T) {
	t.Parallel()
	f := newFixture(t, Config{Hashers: 1})
	f.accounts.err = im.Errorf(im.Unavailable, "database away")
	for range 2 * maxFailures {
		f.want(t, "alice", example, Unavailable)
	}
	f.accounts.err = nil
	f.addUser(1, "alice", store.Credentials{Hash: Hash(example)})
	f.hashers <- struct{}{} // every hasher is busy
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range 2 * maxFailures {
		if _, got := f.Verify(ctx, "alice", example, ""); got != Unavailable {
			t.Fatalf("no hasher free: %s", got)
		}
	}
	<-f.hashers
	f.want(t, "alice", example, OK)
}

func TestTooMany(t *testing.T) {
	t.Parallel()
	f := newFixture(t, Config{})
	f.addUser(1, "alice", store.Credentials{Hash: Hash(example)})
	bad := md5Hex("x")
	verify := func(addr, password string, want Result) {
		t.Helper()
		if _, got := f.Verify(t.Context(), "alice", password, addr); got != want {
			t.Errorf("from %q: %s, want %s", addr, got, want)
		}
	}
	// Not finished yet, but counted: many at once are no way around.
	var pending []*Attempt
	for range maxFailures + 1 {
		attempt, _, result := f.Start(t.Context(), "alice", bad, "10.0.0.1:4000")
		if result != Pending {
			t.Fatalf("started: %s", result)
		}
		pending = append(pending, attempt)
	}
	verify("10.0.0.1:4001", example, TooMany)
	verify("10.0.0.2:4000", example, OK)
	verify("", example, OK)
	f.Abandon(pending[0])
	verify("10.0.0.1:4001", bad, Wrong)
	verify("10.0.0.1:4001", example, TooMany)
	f.now = f.now.Add(failureWindow)
	verify("10.0.0.1:4001", example, OK)
	for range maxFailures + 1 {
		verify("10.0.0.1:4000", bad, Wrong)
	}
	verify("10.0.0.1:4000", bad, TooMany)
}

func TestSuccessClears(t *testing.T) {
	t.Parallel()
	f := newFixture(t, Config{})
	f.addUser(1, "alice", store.Credentials{Hash: Hash(example)})
	for range 3 {
		for range 5 {
			f.want(t, "alice", md5Hex("x"), Wrong)
		}
		f.want(t, "alice", example, OK)
	}
}

// An account that is closed while a log-in waits for its hash lets nobody in.
func TestClosedMeanwhile(t *testing.T) {
	t.Parallel()
	f := newFixture(t, Config{})
	f.addUser(1, "alice", store.Credentials{Hash: Hash(example)})
	attempt, _, result := f.Start(t.Context(), "alice", example, "")
	if result != Pending {
		t.Fatalf("result %q, want %q", result, Pending)
	}
	f.accounts.users["alice"].Status = 3
	if user, result := f.Finish(t.Context(), attempt); result != Wrong || user.ID != 0 {
		t.Errorf("user %d, result %q, want %q", user.ID, result, Wrong)
	}
}

func TestBackgroundFull(t *testing.T) {
	t.Parallel()
	f := newFixture(t, Config{})
	f.addUser(1, "alice", store.Credentials{Legacy: exampleLegacy, Salt: exampleSalt})
	background := f.deps.Background
	f.deps.Background = func(func()) bool { return false }
	f.want(t, "alice", example, OK)
	f.deps.Background = background
	f.want(t, "alice", example, OK)
	f.runLater()
	if f.accounts.alice().Hash == "" {
		t.Error("not made up for at the next log-in")
	}
}

func TestNewWithoutDeps(t *testing.T) {
	t.Parallel()
	if _, err := New(Config{}, Deps{}); err == nil {
		t.Error("accepted")
	}
}

func BenchmarkReconnect(b *testing.B) {
	f := newFixture(b, Config{})
	f.addUser(1, "alice", store.Credentials{Hash: Hash(example)})
	b.ReportAllocs()
	for b.Loop() {
		if _, got := f.Verify(b.Context(), "alice", example, "10.0.0.1:4000"); got != OK {
			b.Fatal(got)
		}
	}
}

func BenchmarkHash(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		Hash(example)
	}
}
