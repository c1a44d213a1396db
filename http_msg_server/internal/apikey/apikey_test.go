package apikey

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"teamtalk/internal/im"
)

// database holds one key, with the secret "SECRET".
type database struct {
	key   Key
	gone  bool
	away  bool
	asked int
}

var errAway = errors.New("the database is away")

func (d *database) lookup(_ context.Context, id string, hash [sha256.Size]byte) (Key, error) {
	d.asked++
	switch {
	case d.away:
		return Key{}, errAway
	case d.gone || id != d.key.ID || hash != sha256.Sum256([]byte("SECRET")):
		return Key{}, im.Errorf(im.Denied, "no such key")
	}
	return d.key, nil
}

// keeper is Keys with a database and a clock of the test's.
type keeper struct {
	*Keys
	db  database
	now time.Time
}

func newKeeper() *keeper {
	k := &keeper{now: time.Unix(1_700_000_000, 0), db: database{key: Key{ID: "crm", Rate: 2, Scopes: []string{"all"}}}}
	k.Keys = New(k.db.lookup, func() time.Time { return k.now })
	return k
}

var (
	here  = netip.MustParseAddr("10.0.0.1")
	there = netip.MustParseAddr("10.0.0.2")
)

func (k *keeper) check(t *testing.T, token string, from netip.Addr) im.Code {
	t.Helper()
	key, err := k.Check(t.Context(), token, from)
	if err == nil && key.ID != "crm" {
		t.Errorf("key %+v", key)
	}
	return im.CodeOf(err)
}

// TestRemembers: the database is asked once in a while, a revoked key holds
// that long at most, and a database that is away revokes nothing it said.
func TestRemembers(t *testing.T) {
	t.Parallel()
	k := newKeeper()
	for range 3 {
		if got := k.check(t, "tt_crm_SECRET", here); got != im.OK || k.db.asked != 1 {
			t.Fatalf("%v, asked %d times", got, k.db.asked)
		}
	}
	for s := range k.known {
		if strings.Contains(fmt.Sprintf("%+v", s), "SECRET") {
			t.Error("the secret is remembered")
		}
	}
	k.db.gone = true
	k.now = k.now.Add(goodFor - time.Millisecond)
	if got := k.check(t, "tt_crm_SECRET", here); got != im.OK {
		t.Errorf("within %v of a revocation: %v", goodFor, got)
	}
	k.now = k.now.Add(time.Millisecond)
	if got := k.check(t, "tt_crm_SECRET", here); got != im.Denied || k.db.asked != 2 {
		t.Errorf("after it: %v, asked %d times", got, k.db.asked)
	}
	k.db.gone = false
	k.now = k.now.Add(badFor)
	k.db.away = true
	if _, err := k.Check(t.Context(), "tt_crm_SECRET", here); !errors.Is(err, errAway) {
		t.Errorf("the database is away: %v", err)
	}
	k.db.away = false // and that is not remembered
	if got := k.check(t, "tt_crm_SECRET", here); got != im.OK {
		t.Errorf("it is back: %v", got)
	}
	k.db.away = true
	if got := k.check(t, "tt_crm_SECRET", here); got != im.OK {
		t.Errorf("away again, but asked before: %v", got)
	}
}

// TestGuesses: an address that guesses is slowed, before the database has the
// work; other addresses are not, nor is a key that is known.
func TestGuesses(t *testing.T) {
	t.Parallel()
	k := newKeeper()
	if got := k.check(t, "tt_crm_SECRET", here); got != im.OK {
		t.Fatal(got)
	}
	for i := range wrongBurst {
		if got := k.check(t, fmt.Sprintf("tt_crm_%d", i), here); got != im.Denied {
			t.Fatalf("guess %d: %v", i, got)
		}
	}
	asked := k.db.asked
	for _, guess := range []string{"tt_crm_more", "", "tt", "tt__", "tt_crm_", "tt_crm_a_b", "xx_crm_SECRET", "tt_crm_" + strings.Repeat("x", 200)} {
		if got := k.check(t, guess, here); got != im.Busy {
			t.Errorf("%.20q: %v", guess, got)
		}
	}
	if k.db.asked != asked {
		t.Error("the database is asked for what is refused")
	}
	if k.check(t, "tt_crm_SECRET", here) != im.OK || k.check(t, "tt_crm_other", there) != im.Denied {
		t.Error("others are refused, too")
	}
	k.now = k.now.Add(time.Second)
	if got := k.check(t, "tt_crm_later", here); got != im.Denied {
		t.Errorf("a second later: %v", got)
	}
}

// TestRate: a key has its requests a second, and its new ones once its rate is
// another.
func TestRate(t *testing.T) {
	t.Parallel()
	k := newKeeper()
	key := k.db.key
	for range 2 {
		if wait, ok := k.Allow(key); !ok {
			t.Fatalf("refused for %v", wait)
		}
	}
	if wait, ok := k.Allow(key); ok || wait != 500*time.Millisecond {
		t.Errorf("the third: %v, wait %v", ok, wait)
	}
	if _, ok := k.Allow(Key{ID: "other", Rate: 1}); !ok {
		t.Error("another key is refused")
	}
	k.now = k.now.Add(500 * time.Millisecond)
	if _, ok := k.Allow(key); !ok {
		t.Error("refused after the wait")
	}
	key.Rate = 100
	k.now = k.now.Add(100 * time.Millisecond)
	allowed := 0
	for range 50 {
		if _, ok := k.Allow(key); ok {
			allowed++
		}
	}
	k.now = k.now.Add(time.Second)
	for range 150 {
		if _, ok := k.Allow(key); ok {
			allowed++
		}
	}
	if allowed < 100 || allowed > 111 {
		t.Errorf("%d in 1.1 seconds at a hundred a second", allowed)
	}
	if _, ok := k.Allow(Key{ID: "none"}); !ok {
		t.Error("a rate of 0 lets nothing through: one a second is the least")
	}
}

// TestBounded: whoever tries many keys from many addresses fills no memory.
func TestBounded(t *testing.T) {
	t.Parallel()
	k := newKeeper()
	for i := range maxRemembered + 10 {
		addr := netip.AddrFrom4([4]byte{11, byte(i >> 16), byte(i >> 8), byte(i)})
		k.check(t, fmt.Sprintf("tt_%d_x", i), addr)
		k.Allow(Key{ID: strconv.Itoa(i), Rate: 1})
	}
	if len(k.known) > maxRemembered || len(k.limiters) > maxRemembered || len(k.wrong) > maxRemembered {
		t.Errorf("%d, %d and %d are remembered", len(k.known), len(k.limiters), len(k.wrong))
	}
}
