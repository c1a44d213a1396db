package fileserver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"teamtalk/file_server/internal/blob"
	"teamtalk/file_server/internal/catalog"
	"teamtalk/internal/im"
	"teamtalk/internal/share"
)

// shares are the files of messages: they come in over tus, their messages are
// stored by a msg_server once they are complete, and go out over HTTP. A
// msg_server says with a token who may do what. Source: docs/files.md.
type shares struct {
	// Static after openShares.
	server *Server
	name   string // at the end of the ids of our files
	signer *share.Signer
	tell   *announcer
	moves  moves

	mu      sync.Mutex        // guards the fields below; a leaf
	quota   map[string]func() // gives the quota of an upload back
	holders map[string]func() // interrupts the request that holds an upload
}

// sharedInfo is what is known of a file, on its way in and later.
type sharedInfo struct {
	From    uint32  `json:"from"`
	Kind    im.Kind `json:"kind"`
	Session uint32  `json:"session"` // as the sender knows the conversation
	Name    string  `json:"name"`
	// Sent is how many bytes the sender sent, where other ones are kept.
	Sent int64 `json:"sent,omitempty"`
	// Msg is the id of its message; 0 until that is stored.
	Msg uint32 `json:"msg,omitempty"`
}

func (i *sharedInfo) conv() im.Conversation {
	return im.ConversationOf(im.UserID(i.From), i.Kind, i.Session)
}

// sent is how long the file was that the sender sent.
func (i *sharedInfo) sent(e catalog.Entry) int64 {
	if i.Sent != 0 {
		return i.Sent
	}
	return e.Size
}

// shareNote is kept with an upload.
type shareNote struct {
	Of   catalog.Kind `json:"kind"` // as in uploadNote
	Info sharedInfo   `json:"info"`
	Sum  string       `json:"sum,omitempty"` // SHA-256 as the sender announced it
}

// nameFile holds the name of this file_server in DataDir.
const nameFile = "server-name"

// openShares returns nil when files of messages are not configured.
func openShares(ctx context.Context, s *Server) (*shares, error) {
	if s.cfg.FileTokenSecret.Reveal() == "" || len(s.cfg.HTTPListen) == 0 {
		return nil, nil
	}
	name, err := ownName(filepath.Join(s.cfg.DataDir, nameFile))
	if err != nil {
		return nil, err
	}
	sh := &shares{
		server: s, name: name, signer: share.NewSigner(s.cfg.FileTokenSecret, s.clock),
		quota: map[string]func(){}, holders: map[string]func(){},
	}
	sh.moves = moves{shares: sh, last: map[move]moment{}}
	if sh.tell, err = newAnnouncer(ctx, sh); err != nil {
		return nil, err
	}
	return sh, s.store.Uploads(func(p blob.Pending) error {
		var note shareNote
		if json.Unmarshal(p.Note, &note) == nil && note.Of == catalog.Shared {
			if release, err := s.catalog.Reserve(note.Info.From, p.Size); err == nil {
				sh.quota[p.ID] = release
			}
		}
		return nil
	})
}

// ownName reads the name of this server, or makes one. Ids of files end with
// it, so it must never change.
func ownName(path string) (string, error) {
	text, err := os.ReadFile(path)
	name := strings.TrimSpace(string(text))
	if errors.Is(err, fs.ErrNotExist) {
		name = share.NewServer()
		err = os.WriteFile(path, []byte(name+"\n"), 0o600)
	}
	switch {
	case err != nil:
		return "", fmt.Errorf("name of this server: %w", err)
	case !share.ValidID(share.NewID(name)):
		return "", fmt.Errorf("%s holds no name of a server", path)
	}
	return name, nil
}

// run completes what a crash left whole but not entered, then tells
// msg_servers of what is complete until ctx ends.
func (sh *shares) run(ctx context.Context) {
	var whole []string
	err := sh.server.store.Uploads(func(p blob.Pending) error {
		var note shareNote
		if json.Unmarshal(p.Note, &note) == nil && note.Of == catalog.Shared && p.Size == p.Offset {
			whole = append(whole, p.ID)
		}
		return nil
	})
	if err != nil {
		sh.server.log.Error("uploads not listed", "error", err)
	}
	for _, id := range whole {
		u, err := sh.server.store.Resume(id)
		if err != nil {
			continue // somebody else is at it
		}
		if err := sh.complete(ctx, u); err != nil {
			sh.server.log.Error("upload not completed", "file_id", id, "error", err)
		}
	}
	sh.tell.run(ctx)
}

// forgetDropped gives the quota of uploads back that were collected.
func (sh *shares) forgetDropped() {
	sh.mu.Lock()
	ids := make([]string, 0, len(sh.quota))
	for id := range sh.quota {
		ids = append(ids, id)
	}
	sh.mu.Unlock()
	for _, id := range ids {
		if !sh.server.store.HasUpload(id) {
			sh.release(id)
		}
	}
}

func (sh *shares) release(id string) {
	sh.mu.Lock()
	release := sh.quota[id]
	delete(sh.quota, id)
	sh.mu.Unlock()
	if release != nil {
		release()
	}
}

// How long a request waits for another one to let go of an upload.
const (
	holdPatience = 5 * time.Second
	holdPoll     = 10 * time.Millisecond
)

// take holds an upload for a request of its sender. A request that holds it
// already is interrupted: its connection may be dead without our knowing.
func (sh *shares) take(
	ctx context.Context, id string, g share.Grant, interrupt func(),
) (*blob.Upload, error) {
	ctx, cancel := context.WithTimeout(ctx, holdPatience)
	defer cancel()
	for {
		u, err := sh.server.store.Resume(id)
		switch {
		case err == nil:
			if err := checkNote(u, g); err != nil {
				return nil, errors.Join(err, u.Close())
			}
			sh.mu.Lock()
			sh.holders[id] = interrupt
			sh.mu.Unlock()
			return u, nil
		case !errors.Is(err, blob.ErrBusy):
			return nil, err
		}
		sh.mu.Lock()
		other := sh.holders[id]
		sh.mu.Unlock()
		if other != nil {
			other()
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(holdPoll):
		}
	}
}

// checkNote checks that an upload is that of a grant; it looks absent to others.
func checkNote(u *blob.Upload, g share.Grant) error {
	var note shareNote
	if err := json.Unmarshal(u.Note(), &note); err != nil {
		return fmt.Errorf("note of upload: %w", err)
	}
	if note.Of != catalog.Shared || note.Info.From != uint32(g.User) || note.Info.conv() != g.Conv {
		return blob.ErrNotFound
	}
	return nil
}

// letGo ends the hold of a request on an upload.
func (sh *shares) letGo(u *blob.Upload) {
	sh.mu.Lock()
	delete(sh.holders, u.ID())
	sh.mu.Unlock()
	if err := u.Close(); err != nil {
		sh.server.log.Warn("upload not kept", "file_id", u.ID(), "error", err)
	}
}

// create begins an upload under a grant.
func (sh *shares) create(g share.Grant, size int64, name, sum string) (*blob.Upload, error) {
	ctx := sh.server.base
	// First where a file leaves, then where it arrives: see look.
	if sh.server.store.HasUpload(g.File) {
		return nil, blob.ErrExists
	}
	if _, err := sh.server.catalog.Get(ctx, catalog.Shared, g.File); !errors.Is(err, blob.ErrNotFound) {
		return nil, errors.Join(blob.ErrExists, err)
	}
	release, err := sh.server.catalog.Reserve(uint32(g.User), size)
	if err != nil {
		return nil, err
	}
	note, err := json.Marshal(shareNote{Of: catalog.Shared, Sum: sum, Info: sharedInfo{
		From: uint32(g.User), Kind: g.Conv.Kind, Session: g.Conv.SessionID(g.User), Name: name,
	}})
	if err != nil {
		release()
		return nil, err
	}
	u, err := sh.server.store.Create(g.File, size, note)
	if err != nil {
		release()
		return nil, err
	}
	sh.mu.Lock()
	sh.quota[g.File] = release
	sh.mu.Unlock()
	return u, nil
}

// errSum says that the content is not what its sender announced.
var errSum = errors.New("content has another SHA-256 than announced")

// complete enters a whole upload in the catalogue, and removes the upload. It
// is repeatable until it has succeeded, also after a crash.
func (sh *shares) complete(ctx context.Context, u *blob.Upload) (err error) {
	ctx = context.WithoutCancel(ctx)
	var note shareNote
	if err := json.Unmarshal(u.Note(), &note); err != nil {
		return errors.Join(err, u.Close())
	}
	if note.Sum != "" && note.Sum != u.Sum().String() {
		sh.server.metrics.ended(kindShareIn, "bad_sum")
		err := u.Discard()
		sh.release(u.ID())
		return errors.Join(errSum, err)
	}
	sh.server.at("whole")
	if _, err = sh.server.catalog.Get(ctx, catalog.Shared, u.ID()); errors.Is(err, blob.ErrNotFound) {
		err = sh.keep(ctx, u, note.Info)
	}
	if err != nil {
		return errors.Join(err, u.Close())
	}
	sh.server.at("entered")
	err = u.Discard() // only now: whoever looks finds the upload, the entry, or both
	sh.server.at("discarded")
	sh.release(u.ID())
	sh.server.metrics.ended(kindShareIn, "done")
	sh.tell.add(u.ID())
	return err
}

// keep stores the content of an upload and enters it.
func (sh *shares) keep(ctx context.Context, u *blob.Upload, info sharedInfo) (err error) {
	id := u.ID()
	if sh.server.cfg.StripExif && sh.server.isImage(u, info.Name) {
		clean, err := sh.server.stripped(u)
		if err != nil {
			return err
		}
		if clean != nil {
			defer func() { err = errors.Join(err, clean.Discard()) }()
			info.Sent, u = u.Size(), clean
		}
	}
	hash, err := u.Commit(ctx)
	if err != nil {
		return err
	}
	sh.server.at("committed")
	text, err := json.Marshal(info)
	if err != nil {
		return err
	}
	return sh.server.catalog.Add(ctx, catalog.Shared, id, catalog.Entry{
		Hash: hash.String(), Size: u.Size(), Owner: info.From, Info: text,
		Expires: sh.server.clock().Add(sh.server.cfg.SharedExpiry).Unix(),
	})
}

// find returns a complete file of the conversation of a grant.
func (sh *shares) find(ctx context.Context, g share.Grant, id string) (catalog.Entry, sharedInfo, error) {
	var info sharedInfo
	e, err := sh.server.catalog.Get(ctx, catalog.Shared, id)
	if err != nil {
		return e, info, err
	}
	if err := json.Unmarshal(e.Info, &info); err != nil {
		return e, info, fmt.Errorf("read entry: %w", err)
	}
	if info.conv() != g.Conv || g.Right == share.Upload && info.From != uint32(g.User) {
		return e, info, blob.ErrNotFound
	}
	return e, info, nil
}

// sharesPath is where files of messages are. Original clients post images to
// paths of any form, so the path alone does not say what a request is.
const sharesPath = "/files/"

// sharedRequest reports whether a request is for a file of a message.
func sharedRequest(r *http.Request) bool {
	id, ok := strings.CutPrefix(r.URL.Path, sharesPath)
	return ok && (share.ValidID(id) || r.Method == http.MethodOptions || r.Header.Get("Tus-Resumable") != "")
}
