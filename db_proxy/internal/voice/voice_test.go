package voice

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"teamtalk/db_proxy/internal/store"
	"teamtalk/internal/im"
)

// table is IMAudio.
type table struct {
	mu   sync.Mutex // guards the fields below
	rows map[uint32]store.Audio
	err  error
}

func (s *table) AddAudio(_ context.Context, _ im.UserID, _ uint32, a store.Audio) (uint32, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return 0, s.err
	}
	id := uint32(len(s.rows) + 1)
	s.rows[id] = a
	return id, nil
}

func (s *table) Audios(_ context.Context, ids []uint32) (map[uint32]store.Audio, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	found := map[uint32]store.Audio{}
	for _, id := range ids {
		if a, ok := s.rows[id]; ok {
			found[id] = a
		}
	}
	return found, s.err
}

// site is where sounds are kept: what is posted, and what is put in its place.
type site struct {
	*httptest.Server
	mu     sync.Mutex // guards the fields below
	sounds map[string][]byte
	asked  int
	answer func(http.ResponseWriter) // to a sound; nil: it is taken
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{sounds: map[string][]byte{}}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

func (s *site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.Method == http.MethodGet {
		s.asked++
		if sound, ok := s.sounds[r.URL.Path]; ok {
			_, _ = w.Write(sound)
			return
		}
		http.NotFound(w, r)
		return
	}
	if s.answer != nil {
		s.answer(w)
		return
	}
	file, head, err := r.FormFile("file")
	if err != nil || head.Filename != "1.audio" {
		http.Error(w, "no file", http.StatusBadRequest)
		return
	}
	sound, _ := io.ReadAll(file)
	path := "/g0/" + strconv.Itoa(len(s.sounds)) + ".audio"
	s.sounds[path] = sound
	_, _ = io.WriteString(w, `{"error_code":0,"path":"`+path+`","url":"http://elsewhere.example`+path+`"}`)
}

// world is a Keeper with its table and site.
type world struct {
	*Keeper
	table *table
	site  *site
}

func start(t *testing.T) *world {
	t.Helper()
	w := &world{table: &table{rows: map[uint32]store.Audio{}}, site: newSite(t)}
	w.Keeper = New(w.site.URL+"/", w.table, slog.New(slog.DiscardHandler))
	return w
}

// keep keeps a voice message and waits for what becomes of it.
func (w *world) keep(t *testing.T, data []byte) (string, error) {
	t.Helper()
	type kept struct {
		content string
		err     error
	}
	done := make(chan kept, 1)
	if err := w.Keep(t.Context(), 1, 2, data, func(content string, err error) { done <- kept{content, err} }); err != nil {
		return "", err
	}
	select {
	case k := <-done:
		return k.content, k.err
	case <-time.After(20 * time.Second):
		t.Fatal("nothing becomes of it")
		return "", nil
	}
}

// spoken is a voice message of 7 seconds.
func spoken(sound string) []byte { return append([]byte{0, 0, 0, 7}, sound...) }

func of(content string) store.Message {
	return store.Message{Type: im.SingleAudio, Content: content}
}

// What was kept comes back; whatever cannot be had leaves its neighbours and
// the page as they are. The configured site is asked, never that of the row.
func TestPage(t *testing.T) {
	t.Parallel()
	w := start(t)
	content, err := w.keep(t, spoken("hello"))
	if err != nil || content != "1" || w.table.rows[1].Seconds != 7 || w.table.rows[1].Size != 5 {
		t.Fatalf("%q, %v, %+v", content, err, w.table.rows)
	}
	there := w.table.rows[1]
	put := func(id uint32, path string, size uint32, sound string) {
		w.table.rows[id] = store.Audio{Path: path, Size: size, Seconds: 1}
		if sound != "" {
			w.site.sounds[path] = []byte(sound)
		}
	}
	put(2, "/gone", 5, "")
	put(3, "/short", 5, "abc")
	put(4, "/long", 5, "abcdefgh")
	put(5, "/huge", im.MaxVoice+1, "abc")
	put(6, "http://%zz/", 5, "")
	put(7, "", 5, "")
	put(8, "/../../x", 5, "")
	page := []store.Message{
		of("1"), of("2"), of("3"), of("4"), of("5"), of("6"), of("7"), of("8"), of("99"), of("0"), of(""), of("no number"),
		of("4294967297"),
		{Type: im.SingleText, Content: "1"},
		of("1"),
	}
	want := make([]string, len(page))
	for i := range page {
		want[i] = page[i].Content
	}
	want[0] = string(spoken("hello"))
	want[len(want)-1] = want[0]
	w.Fill(t.Context(), page)
	for i := range page {
		if page[i].Content != want[i] {
			t.Errorf("message %d: %q, want %q", i, page[i].Content, want[i])
		}
	}
	if !strings.HasPrefix(there.Path, "http://elsewhere.example/") {
		t.Errorf("the row names %s", there.Path)
	}
}

// A page carries no more sound than a reply has room for, and a site or a
// database that is away costs the sounds only.
func TestPageBounds(t *testing.T) {
	t.Parallel()
	w := start(t)
	const large = 150 << 10
	w.site.sounds["/large"] = bytes.Repeat([]byte("s"), large)
	w.table.rows[1] = store.Audio{Path: "/large", Size: large, Seconds: 1}
	page := make([]store.Message, 10)
	for i := range page {
		page[i] = of("1")
	}
	w.Fill(t.Context(), page)
	filled, total := 0, 0
	for i := range page {
		if len(page[i].Content) > 1 {
			filled++
			total += len(page[i].Content)
		}
	}
	if filled != maxPage/(large+header) || total > maxPage || w.site.asked != filled {
		t.Errorf("%d sounds of %d bytes, %d asked for", filled, total, w.site.asked)
	}
	unfilled := func(what string, ctx context.Context, w *world) {
		t.Helper()
		page := []store.Message{of("1")}
		if w.Fill(ctx, page); page[0].Content != "1" {
			t.Errorf("%s: %q", what, page[0].Content)
		}
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	unfilled("time over", over, w)
	unfilled("no site", t.Context(), &world{Keeper: New("", w.table, slog.New(slog.DiscardHandler))})
	w.site.Close()
	unfilled("site away", t.Context(), w)
	w.table.err = errors.New("away")
	unfilled("database away", t.Context(), w)
}

// What cannot be kept is refused: at once where that is clear, else when it is.
func TestRefused(t *testing.T) {
	t.Parallel()
	w := start(t)
	none := New("", w.table, slog.New(slog.DiscardHandler))
	for what, c := range map[string]struct {
		keeper *Keeper
		data   []byte
		code   im.Code
	}{
		"nothing":       {w.Keeper, nil, im.Invalid},
		"no sound":      {w.Keeper, spoken(""), im.Invalid},
		"a long speech": {w.Keeper, make([]byte, im.MaxVoice+1), im.TooLarge},
		"no site":       {none, spoken("hello"), im.Unavailable},
	} {
		err := c.keeper.Keep(t.Context(), 1, 2, c.data, func(string, error) { t.Errorf("%s: done", what) })
		if im.CodeOf(err) != c.code {
			t.Errorf("%s: %v", what, err)
		}
	}
	for what, answer := range map[string]string{
		"refused":       `{"error_code":1,"url":""}`,
		"nowhere":       `{"error_code":0,"url":""}`,
		"not an answer": "<html>", "nothing": "",
	} {
		w.site.mu.Lock()
		w.site.answer = func(w http.ResponseWriter) { _, _ = io.WriteString(w, answer) }
		w.site.mu.Unlock()
		if _, err := w.keep(t, spoken("hello")); im.CodeOf(err) != im.Unavailable {
			t.Errorf("%s: %v", what, err)
		}
	}
	w.site.mu.Lock()
	w.site.answer = nil
	w.site.mu.Unlock()
	w.table.err = errors.New("away")
	if _, err := w.keep(t, spoken("hello")); im.CodeOf(err) != im.Unavailable {
		t.Errorf("no database: %v", err)
	}
	w.site.Close()
	if _, err := w.keep(t, spoken("hello")); im.CodeOf(err) != im.Unavailable {
		t.Errorf("no site: %v", err)
	}
}

// Only so many are kept at a time; those who go on free their turns. Nobody
// waits for the site, neither who has a turn nor who has none.
// Source: docs/protocol/defects.md I2.
func TestBusy(t *testing.T) {
	t.Parallel()
	held := make(chan struct{})
	slow := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-held }))
	defer slow.Close()
	k := New(slow.URL+"/", &table{rows: map[uint32]store.Audio{}}, slog.New(slog.DiscardHandler))
	var ended sync.WaitGroup
	var early atomic.Bool
	for range maxKeeping {
		ended.Add(1)
		err := k.Keep(t.Context(), 1, 2, spoken("hello"), func(string, error) { early.Store(true); ended.Done() })
		if err != nil || early.Load() {
			close(held)
			t.Fatalf("Keep waits for the site, or does not begin: %v", err)
		}
	}
	if err := k.Keep(t.Context(), 1, 2, spoken("hello"), nil); im.CodeOf(err) != im.Busy {
		t.Errorf("one more: %v", err)
	}
	close(held)
	ended.Wait()
}
