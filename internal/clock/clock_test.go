package clock

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestReal(t *testing.T) {
	t.Parallel()
	c, err := New("")
	if err != nil {
		t.Fatal(err)
	}
	c.Follow(t.Context(), slog.New(slog.DiscardHandler)) // returns
	if d := time.Since(c.Source()()); d < 0 || d > time.Minute {
		t.Errorf("%v off", d)
	}
}

// Only the wall clock moves: what was measured across the jump is unharmed.
func TestMoved(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "clock")
	write(t, path, "0s")
	c, err := New(path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		c.Follow(ctx, slog.New(slog.DiscardHandler))
	}()
	now := c.Source()
	before := now()
	for _, by := range []time.Duration{3 * time.Hour, -50 * time.Minute, 0} {
		write(t, path, by.String()+"\n")
		deadline := time.Now().Add(10 * time.Second)
		for {
			seen := now()
			off := time.Until(seen.Round(0)) - by
			if off > -time.Minute && off < time.Minute {
				if d := seen.Sub(before); d < 0 || d > time.Minute {
					t.Errorf("moved by %v, %v have passed", by, d)
				}
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("not moved by %v", by)
			}
		}
	}
	stop()
	<-ended
}

func TestRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	anybodys, nonsense := filepath.Join(dir, "anybodys"), filepath.Join(dir, "nonsense")
	write(t, anybodys, "1h")
	if err := os.Chmod(anybodys, 0o666); err != nil {
		t.Fatal(err)
	}
	write(t, nonsense, "noon")
	for _, path := range []string{filepath.Join(dir, "missing"), dir, anybodys, nonsense} {
		if _, err := New(path); err == nil {
			t.Errorf("%s moves the clock", path)
		}
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}
