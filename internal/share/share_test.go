package share

import (
	"encoding/base64"
	"errors"
	"strings"
	"testing"
	"time"

	"teamtalk/internal/im"
	"teamtalk/internal/secret"
)

func TestTokens(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_700_000_000, 0)
	clock := func() time.Time { return now }
	ours, others := NewSigner(secret.New("0123456789abcdef"), clock), NewSigner(secret.New("fedcba9876543210"), clock)
	id := NewID(NewServer())
	grant := Grant{Right: Upload, File: id, User: 7, Conv: im.SingleOf(7, 9)}
	token, expires, err := ours.Sign(grant)
	if err != nil || expires.Sub(now) != TokenFor {
		t.Fatal(expires, err)
	}
	if got, err := ours.Verify(token, Upload, id); err != nil || got != grant {
		t.Errorf("own token: %v, %v", got, err)
	}
	head, rest, _ := strings.Cut(token, ".")
	body, mac, _ := strings.Cut(rest, ".")
	none := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","typ":"JWT"}`)) + "." + body + "."
	for what, try := range map[string]struct {
		signer *Signer
		token  string
		right  Right
		file   string
	}{
		"another secret": {others, token, Upload, id},
		"another right":  {ours, token, Download, id},
		"another file":   {ours, token, Upload, NewID("aaaaaaaa")},
		"no signature":   {ours, none, Upload, id},
		"cut":            {ours, head + "." + body, Upload, id},
		"changed":        {ours, head + "." + body[:len(body)-4] + "AAAA." + mac, Upload, id},
		"empty":          {ours, "", Upload, id},
	} {
		if _, err := try.signer.Verify(try.token, try.right, try.file); !errors.Is(err, ErrToken) {
			t.Errorf("%s: %v", what, err)
		}
	}
	now = now.Add(TokenFor + time.Second)
	if _, err := ours.Verify(token, Upload, id); !errors.Is(err, ErrToken) {
		t.Errorf("late: %v", err)
	}
}

func TestText(t *testing.T) {
	t.Parallel()
	id := NewID("abcdefgh")
	for _, name := range []string{"report.pdf", "a (1).txt", "你好.jpg"} {
		text := Text(id, name, 3<<30)
		if got, gotName, ok := ParseText(text); !ok || got != id || gotName != name {
			t.Errorf("%q: %q %q %v", text, got, gotName, ok)
		}
	}
	for _, text := range []string{"", "hello", "teamtalk-file:" + id, "x\nteamtalk-file:../../etc/passwd", "../..\nteamtalk-file:" + id} {
		if _, _, ok := ParseText(text); ok {
			t.Errorf("%q names a file", text)
		}
	}
	if ServerOf(id) != "abcdefgh" || ServerOf("x") != "" {
		t.Error("file_server of an id")
	}
}

func TestCleanName(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"a.txt": "a.txt", `C:\x\b.txt`: "b.txt", "../../etc/passwd": "passwd", "": "", "..": "", "a/": "", "a\nb": "",
		"\u202efdp.exe": "", strings.Repeat("x", 256): "", "bad\xff": "",
	} {
		if got, err := CleanName(name); got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v", name, got, err)
		}
	}
	if Bytes(1023) != "1023 B" || Bytes(2<<30) != "2.0 GiB" {
		t.Error(Bytes(1023), Bytes(2<<30))
	}
}
