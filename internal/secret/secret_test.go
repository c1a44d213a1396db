package secret

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

func TestNothingShowsASecret(t *testing.T) {
	t.Parallel()
	v := New("topsecret")
	var log strings.Builder
	slog.New(slog.NewJSONHandler(&log, nil)).Info("m", "s", v, "in", struct{ S Value }{v})
	text, err := v.MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	shown := fmt.Sprintf("%v %+v %#v %s %q %x %v %s %s", v, struct{ S Value }{v}, v, v, v, v, []Value{v}, text, log.String())
	if strings.Contains(shown, "topsecret") || strings.Contains(shown, fmt.Sprintf("%x", "topsecret")) {
		t.Error(shown)
	}
}

func TestReplace(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		before, with, after string
		changed             bool
	}{
		{"old", "new", "new", true},
		{"old", "old", "old", false},
		{"old", "", "old", false},
		{"", "new", "", false},
	} {
		v := New(c.before)
		copied := v
		if changed := copied.Replace(New(c.with)); changed != c.changed {
			t.Errorf("%q replaced by %q: changed %v, want %v", c.before, c.with, changed, c.changed)
		}
		if got := v.Reveal(); got != c.after {
			t.Errorf("%q replaced by %q: reveals %q, want %q", c.before, c.with, got, c.after)
		}
	}
}
