package auth

import (
	"fmt"
	"strconv"
	"testing"
	"time"
)

func TestPHC(t *testing.T) {
	t.Parallel()
	h := newPHC(example)
	h.legacy = "12345678"
	again, ok := parsePHC(h.String())
	if !ok || again != h || !again.matches(example) || again.matches(example[1:]) {
		t.Errorf("%s read as %+v", h, again)
	}
	if h.salt == newPHC(example).salt {
		t.Error("salt is not random")
	}
	for name, s := range map[string]string{
		"empty":         "",
		"other kind":    "$argon2i$v=19$m=19456,t=2,p=1$MTIzNDU2Nzg$MTIzNDU2NzgxMjM0NTY3OA",
		"other version": "$argon2id$v=16$m=19456,t=2,p=1$MTIzNDU2Nzg$MTIzNDU2NzgxMjM0NTY3OA",
		"no version":    "$argon2id$m=19456,t=2,p=1$MTIzNDU2Nzg$MTIzNDU2NzgxMjM0NTY3OA",
		"no memory":     "$argon2id$v=19$m=0,t=2,p=1$MTIzNDU2Nzg$MTIzNDU2NzgxMjM0NTY3OA",
		"all memory":    "$argon2id$v=19$m=4294967295,t=2,p=1$MTIzNDU2Nzg$MTIzNDU2NzgxMjM0NTY3OA",
		"all day":       "$argon2id$v=19$m=19456,t=99999,p=1$MTIzNDU2Nzg$MTIzNDU2NzgxMjM0NTY3OA",
		"short salt":    "$argon2id$v=19$m=19456,t=2,p=1$MTI$MTIzNDU2NzgxMjM0NTY3OA",
		"short key":     "$argon2id$v=19$m=19456,t=2,p=1$MTIzNDU2Nzg$MTI",
		"not base64":    "$argon2id$v=19$m=19456,t=2,p=1$MTIzNDU2Nzg$!!!",
	} {
		if h, ok := parsePHC(s); ok || h != (phc{}) {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestVerifiedIsBounded(t *testing.T) {
	t.Parallel()
	v := newVerified(100)
	h := phc{salt: "salt", key: "key"}
	v.add(h, "kept")
	for i := range 10_000 {
		v.add(h, strconv.Itoa(i))
		if i%10 == 0 && !v.has(h, "kept") {
			t.Fatalf("one in use was forgotten after %d others", i)
		}
	}
	if n := len(v.young) + len(v.old); n > 100 {
		t.Errorf("%d entries, want at most 100", n)
	}
	if v.has(h, "1") || v.has(phc{salt: "salt", key: "other"}, "kept") {
		t.Error("remembers what it should not")
	}
}

func TestFailuresAreBounded(t *testing.T) {
	t.Parallel()
	f := newFailures(100)
	now := time.Unix(1_700_000_000, 0)
	victim := failureKey{name: "victim"}
	for range maxFailures + 1 {
		f.add(victim, now)
	}
	for i := range 49 {
		f.add(failureKey{name: strconv.Itoa(i)}, now)
	}
	if !f.full(victim, now) {
		t.Error("forgotten too early")
	}
	for i := range 10_000 {
		f.add(failureKey{name: fmt.Sprint("n", i)}, now)
	}
	if n := len(f.young) + len(f.old); n > 100 {
		t.Errorf("%d entries, want at most 100", n)
	}
}

func TestFailuresSlide(t *testing.T) {
	t.Parallel()
	f := newFailures(100)
	key := failureKey{name: "alice"}
	now := time.Unix(1_700_000_000, 0)
	// One failure each three minutes never reaches eleven in half an hour.
	for range 100 {
		if !f.add(key, now) {
			t.Fatal("refused")
		}
		now = now.Add(3 * time.Minute)
	}
}

func TestHostOf(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"10.0.0.1":               "10.0.0.1",
		"10.0.0.1:80":            "10.0.0.1",
		"::ffff:10.0.0.1":        "10.0.0.1",
		"[2001:db8::1:2:3:4]:80": "2001:db8::",
		"2001:db8:0:0:ffff::1":   "2001:db8::",
		"fe80::1%eth0":           "fe80::",
		"":                       "invalid IP",
		"somewhere":              "invalid IP",
	} {
		if got := hostOf(in).String(); got != want {
			t.Errorf("%q: %s, want %s", in, got, want)
		}
	}
}
