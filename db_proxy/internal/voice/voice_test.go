package voice

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime"
	"sync"
	"testing"
	"time"

	"teamtalk/db_proxy/internal/store"
	"teamtalk/internal/im"
)

// sounds is a Store in memory.
type sounds struct {
	mu  sync.Mutex // guards the field below
	all []store.Audio
}

func (s *sounds) AddAudio(_ context.Context, _ im.UserID, _ uint32, a store.Audio) (uint32, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = append(s.all, a)
	return uint32(len(s.all)), nil
}

func (s *sounds) Audios(_ context.Context, ids []uint32) (map[uint32]store.Audio, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	found := map[uint32]store.Audio{}
	for _, id := range ids {
		if int(id) <= len(s.all) {
			found[id] = s.all[id-1]
		}
	}
	return found, nil
}

// kept is what became of a sound.
type kept struct {
	content string
	err     error
}

func wait(t *testing.T, ch <-chan kept) kept {
	t.Helper()
	select {
	case k := <-ch:
		return k
	case <-time.After(2 * keepPatience):
		t.Fatal("nothing becomes of a sound")
		return kept{}
	}
}

// A file_server that does not answer keeps nobody waiting but who sends it a
// sound: not the connection that it came over, and not who comes when as many
// as may be are on their way. Source: defects.md I2.
func TestNobodyWaitsForTheSite(t *testing.T) {
	t.Parallel()
	resume := make(chan struct{})
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		<-resume
		_, _ = io.WriteString(w, `{"error_code":0,"path":"g0/1.audio","url":"http://x/g0/1.audio"}`)
	}))
	t.Cleanup(site.Close)
	k := New(site.URL+"/", new(sounds), slog.New(slog.DiscardHandler))
	results := make(chan kept, maxKeeping+1)
	keep := func() error {
		return k.Keep(t.Context(), 1, 2, []byte("\x00\x00\x00\x05sound"), func(content string, err error) {
			results <- kept{content, err}
		})
	}
	for i := range maxKeeping {
		if err := keep(); err != nil {
			t.Fatalf("sound %d: %v", i, err)
		}
		if len(results) > 0 {
			close(resume)
			t.Fatal("Keep waits for the site")
		}
	}
	if err := keep(); im.CodeOf(err) != im.Busy {
		t.Errorf("one more: %v", err)
	}
	close(resume)
	for range maxKeeping {
		if got := wait(t, results); got.err != nil || got.content == "" {
			t.Errorf("kept as %q, %v", got.content, got.err)
		}
	}
	for late := time.After(2 * keepPatience); keep() != nil; { // places are given back after the results
		select {
		case <-late:
			t.Fatal("no place is given back")
		default:
			runtime.Gosched()
		}
	}
	wait(t, results)
}

// What is no voice message is refused at once.
func TestRefused(t *testing.T) {
	t.Parallel()
	never := func(string, error) { t.Error("done is called") }
	k := New("http://127.0.0.1:1/", new(sounds), slog.New(slog.DiscardHandler))
	for name, data := range map[string][]byte{"nothing": nil, "no sound": make([]byte, header), "too long": make([]byte, im.MaxVoice+1)} {
		if err := k.Keep(t.Context(), 1, 2, data, never); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	if err := New("", new(sounds), slog.New(slog.DiscardHandler)).Keep(t.Context(), 1, 2, make([]byte, 10), never); err == nil {
		t.Error("taken without a site")
	}
	results := make(chan kept, 1)
	if err := k.Keep(t.Context(), 1, 2, make([]byte, 10), func(content string, err error) { results <- kept{content, err} }); err != nil {
		t.Fatal(err)
	}
	if got := wait(t, results); im.CodeOf(got.err) != im.Unavailable {
		t.Errorf("nobody at the site: %v", got.err)
	}
}
