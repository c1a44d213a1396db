// Package voice keeps the sound of voice messages at a file_server, over HTTP,
// and brings it back for history. A sound that cannot be had leaves the rest
// of a page as it is. Source: docs/protocol/wire.md §6.
package voice

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime/multipart"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"teamtalk/db_proxy/internal/store"
	"teamtalk/internal/im"
)

// Bounds of what is asked of the file_server.
const (
	keepPatience = 3 * time.Second // msg_servers give a send up after four
	pagePatience = 2 * time.Second // for all sounds of a page
	maxKeeping   = 32              // uploads at a time
	maxPage      = 384 << 10       // bytes of sound in one page: no reply carries more
)

// header is the length of the duration in front of a sound.
const header = 4

// Store keeps what is known of sounds.
type Store interface {
	AddAudio(ctx context.Context, from im.UserID, to uint32, a store.Audio) (uint32, error)
	Audios(ctx context.Context, ids []uint32) (map[uint32]store.Audio, error)
}

// Keeper is safe from any goroutine.
type Keeper struct {
	site  string // ends with /
	store Store
	log   *slog.Logger
	http  *http.Client
	turns chan struct{}
}

// New returns a Keeper at a site; without one voice messages are refused, and
// old ones have no sound.
func New(site string, s Store, log *slog.Logger) *Keeper {
	return &Keeper{
		site: site, store: s, log: log, http: &http.Client{Timeout: keepPatience}, turns: make(chan struct{}, maxKeeping),
	}
}

// Keep stores the sound of a voice message in the background and calls done
// with the content of its message. An error at once: done is not called.
func (k *Keeper) Keep(
	ctx context.Context, from im.UserID, to uint32, data []byte, done func(content string, err error),
) error {
	switch {
	case k.site == "":
		return im.Errorf(im.Unavailable, "voice message without MsfsSite")
	case len(data) <= header:
		return im.Errorf(im.Invalid, "voice message without a sound")
	case len(data) > im.MaxVoice:
		return im.Errorf(im.TooLarge, "voice message of %d bytes", len(data))
	}
	select {
	case k.turns <- struct{}{}:
	default:
		return im.Errorf(im.Busy, "too many voice messages at a time")
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), keepPatience)
	go func() {
		defer func() { <-k.turns }()
		defer cancel()
		content, err := k.keep(ctx, from, to, data)
		if err != nil {
			err = im.Wrap(im.Unavailable, "keep voice message", err)
		}
		done(content, err)
	}()
	return nil
}

func (k *Keeper) keep(ctx context.Context, from im.UserID, to uint32, data []byte) (string, error) {
	path, err := k.upload(ctx, data[header:])
	if err != nil {
		return "", err
	}
	id, err := k.store.AddAudio(ctx, from, to, store.Audio{
		Path: path, Size: uint32(len(data) - header), Seconds: binary.BigEndian.Uint32(data),
	})
	return strconv.FormatUint(uint64(id), 10), err
}

// upload posts a sound as the original does, and returns its URL.
func (k *Keeper) upload(ctx context.Context, sound []byte) (string, error) {
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	part, err := form.CreateFormFile("file", "1.audio")
	if err == nil {
		_, err = part.Write(sound)
	}
	if err = errors.Join(err, form.Close()); err != nil {
		return "", err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, k.site, &body)
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", form.FormDataContentType())
	res, err := k.http.Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	var answer struct {
		Code int    `json:"error_code"`
		Path string `json:"path"`
		URL  string `json:"url"`
	}
	if err := json.NewDecoder(io.LimitReader(res.Body, 64<<10)).Decode(&answer); err != nil {
		return "", fmt.Errorf("answer to a sound: %s: %w", res.Status, err)
	}
	if res.StatusCode != http.StatusOK || answer.Code != 0 || answer.URL == "" {
		return "", fmt.Errorf("sound refused: %s, code %d", res.Status, answer.Code)
	}
	return answer.URL, nil
}

// Fill gives the voice messages of a page their sound, as far as it can be
// had; one without keeps its id as content, which clients show as broken.
func (k *Keeper) Fill(ctx context.Context, page []store.Message) {
	ids := make([]uint32, 0, len(page))
	for i := range page {
		if id, ok := audioID(&page[i]); ok {
			ids = append(ids, id)
		}
	}
	if len(ids) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, pagePatience)
	defer cancel()
	known, err := k.store.Audios(ctx, ids)
	if err != nil {
		k.log.Warn("voice messages not read", "error", err)
		return
	}
	for i, size := 0, 0; i < len(page) && ctx.Err() == nil; i++ {
		id, ok := audioID(&page[i])
		a, here := known[id]
		if !ok || !here || a.Size > im.MaxVoice || size+header+int(a.Size) > maxPage {
			continue
		}
		sound, err := k.fetch(ctx, a)
		if err != nil {
			k.log.Info("voice message not read", "audio_id", id, "error", err)
			continue
		}
		page[i].Content = string(append(binary.BigEndian.AppendUint32(nil, a.Seconds), sound...))
		size += len(page[i].Content)
	}
}

// audioID reads the content of a voice message as the database has it.
func audioID(m *store.Message) (uint32, bool) {
	if !m.Type.Audio() {
		return 0, false
	}
	id, err := strconv.ParseUint(m.Content, 10, 32)
	return uint32(id), err == nil && id > 0
}

// fetch asks the configured site, wherever the sound was put: sites move, and
// the database names none that we should visit.
func (k *Keeper) fetch(ctx context.Context, a store.Audio) ([]byte, error) {
	u, err := url.Parse(a.Path)
	if err != nil || k.site == "" {
		return nil, fmt.Errorf("no place of a sound: %w", err)
	}
	at := k.site + strings.TrimLeft(u.EscapedPath(), "/")
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at, http.NoBody)
	if err != nil {
		return nil, err
	}
	res, err := k.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, errors.New(res.Status)
	}
	sound, err := io.ReadAll(io.LimitReader(res.Body, int64(a.Size)+1))
	if err == nil && len(sound) != int(a.Size) {
		err = fmt.Errorf("%d bytes of a sound of %d", len(sound), a.Size)
	}
	return sound, err
}
