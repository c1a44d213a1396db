package fileserver

import (
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"teamtalk/file_server/internal/blob"
	"teamtalk/file_server/internal/catalog"
	"teamtalk/internal/share"
)

// Uploads in the tus protocol, version 1.0.0, with the extensions creation,
// creation-with-upload, termination and checksum. The token is that of the
// file: one token, one upload. Source: https://tus.io/protocols/resumable-upload.

const (
	tusVersion    = "1.0.0"
	tusExtensions = "creation,creation-with-upload,termination,checksum"
	tusSums       = "sha1,sha256"
	offsetType    = "application/offset+octet-stream"
)

// statusBadSum is tus's status for content that is not what its checksum says.
const statusBadSum = 460

// tusError is a refusal: a label for metrics and a status.
type tusError struct {
	result string
	status int
}

func (e *tusError) Error() string { return e.result }

// refusals that are not those of another package.
var (
	errVersion  = &tusError{"bad_version", http.StatusPreconditionFailed}
	errHeader   = &tusError{"bad_request", http.StatusBadRequest}
	errSumKind  = &tusError{"bad_request", http.StatusBadRequest}
	errType     = &tusError{"bad_type", http.StatusUnsupportedMediaType}
	errToken    = &tusError{"bad_token", http.StatusUnauthorized}
	errAt       = &tusError{"bad_offset", http.StatusConflict}
	errTooMuch  = &tusError{"too_large", http.StatusRequestEntityTooLarge}
	errChecksum = &tusError{"bad_sum", statusBadSum}
	errMethod   = &tusError{"bad_method", http.StatusMethodNotAllowed}
	errComing   = &tusError{"coming", http.StatusConflict}
)

// serveHTTP serves the files of messages.
func (sh *shares) serveHTTP(w http.ResponseWriter, r *http.Request) {
	id := strings.TrimPrefix(r.URL.Path, sharesPath)
	tus := r.Header.Get("Tus-Resumable") != ""
	operation, err := "options", error(nil)
	switch {
	case r.Method == http.MethodOptions:
		h := w.Header()
		h.Set("Tus-Resumable", tusVersion)
		h.Set("Tus-Version", tusVersion)
		h.Set("Tus-Extension", tusExtensions)
		h.Set("Tus-Checksum-Algorithm", tusSums)
		w.WriteHeader(http.StatusNoContent)
	case !tus && (r.Method == http.MethodGet || r.Method == http.MethodHead):
		operation, err = "fetch", sh.fetch(w, r, id)
	default:
		operation, err = "tus_"+strings.ToLower(r.Method), sh.tus(w, r, id)
	}
	if err == nil {
		sh.server.http.count(operation, "ok")
		return
	}
	sh.refuse(w, r, operation, err)
}

// tus dispatches the requests of the protocol.
func (sh *shares) tus(w http.ResponseWriter, r *http.Request, id string) error {
	w.Header().Set("Tus-Resumable", tusVersion)
	w.Header().Set("Cache-Control", "no-store")
	if r.Header.Get("Tus-Resumable") != tusVersion {
		w.Header().Set("Tus-Version", tusVersion)
		return errVersion
	}
	if id == "" && r.Method != http.MethodPost {
		return errMethod
	}
	g, err := sh.grant(r, share.Upload, id)
	if err != nil {
		return err
	}
	switch r.Method {
	case http.MethodPost:
		return sh.tusPost(w, r, g)
	case http.MethodHead:
		return sh.tusHead(w, r, g)
	case http.MethodPatch:
		return sh.tusPatch(w, r, g)
	case http.MethodDelete:
		return sh.tusDelete(w, r, g)
	}
	return errMethod
}

// grant reads the token of a request.
func (sh *shares) grant(r *http.Request, right share.Right, id string) (share.Grant, error) {
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		return share.Grant{}, errToken
	}
	g, err := sh.signer.Verify(token, right, id)
	if err != nil {
		return g, errToken
	}
	return g, nil
}

// refuse answers with an error. An upload that a connection lost needs no
// answer.
func (sh *shares) refuse(w http.ResponseWriter, r *http.Request, operation string, err error) {
	var refusal *tusError
	switch {
	case errors.As(err, &refusal):
	case errors.Is(err, blob.ErrNotFound):
		refusal = &tusError{"not_found", http.StatusNotFound}
	case errors.Is(err, blob.ErrExists):
		refusal = &tusError{"exists", http.StatusConflict}
	case errors.Is(err, blob.ErrBusy):
		refusal = &tusError{"busy", http.StatusLocked}
	case errors.Is(err, catalog.ErrQuota):
		refusal = &tusError{"quota", http.StatusRequestEntityTooLarge}
	case errors.Is(err, blob.ErrOverrun):
		refusal = errTooMuch
	case errors.Is(err, blob.ErrFull):
		refusal = &tusError{"no_space", http.StatusInsufficientStorage}
	case errors.Is(err, errSum):
		refusal = errChecksum
	case errors.Is(err, errCut), r.Context().Err() != nil:
		refusal = &tusError{"cut", http.StatusRequestTimeout}
		w.Header().Set("Connection", "close")
	default:
		refusal = &tusError{"failed", http.StatusInternalServerError}
		sh.server.log.Error("file request failed", "operation", operation, "error", err)
	}
	sh.server.http.count(operation, refusal.result)
	http.Error(w, refusal.result, refusal.status)
}

// tusPost begins the upload that a token is for.
func (sh *shares) tusPost(w http.ResponseWriter, r *http.Request, g share.Grant) error {
	size, err := strconv.ParseInt(r.Header.Get("Upload-Length"), 10, 64)
	if err != nil || size < 0 || r.Header.Get("Upload-Concat") != "" {
		return errHeader
	}
	meta, err := parseMetadata(r.Header.Get("Upload-Metadata"))
	if err != nil {
		return err
	}
	name, err := share.CleanName(meta["filename"])
	if err != nil {
		return errHeader
	}
	sum := meta["sha256"]
	if _, err := blob.ParseHash(sum); sum != "" && (err != nil || sum != strings.ToLower(sum)) {
		return errHeader
	}
	u, err := sh.create(g, size, name, sum)
	if err != nil {
		return err
	}
	w.Header().Set("Location", sh.server.cfg.FilesURL+strings.TrimPrefix(sharesPath, "/")+g.File)
	hasBody := r.Header.Get("Content-Type") == offsetType && r.ContentLength != 0
	if hasBody || size == 0 {
		return sh.receive(w, r, u, http.StatusCreated)
	}
	sh.letGo(u)
	w.WriteHeader(http.StatusCreated)
	return nil
}

// parseMetadata reads "key base64,key base64".
func parseMetadata(text string) (map[string]string, error) {
	meta := map[string]string{}
	for pair := range strings.SplitSeq(text, ",") {
		key, value, _ := strings.Cut(strings.TrimSpace(pair), " ")
		plain, err := base64.StdEncoding.DecodeString(value)
		if err != nil {
			return nil, errHeader
		}
		meta[key] = string(plain)
	}
	return meta, nil
}

// tusHead says how much has come.
func (sh *shares) tusHead(w http.ResponseWriter, r *http.Request, g share.Grant) error {
	h := w.Header()
	u, err := sh.take(r.Context(), g.File, g, nil)
	if err == nil && u.Offset() == u.Size() {
		// Whole, but something kept it from being completed.
		size := u.Size()
		sh.letGoHolder(u)
		if err := sh.complete(r.Context(), u); err != nil {
			return err
		}
		setLength(h, size, size)
		return nil
	}
	if err == nil {
		setLength(h, u.Offset(), u.Size())
		sh.letGo(u)
		return nil
	}
	if !errors.Is(err, blob.ErrNotFound) {
		return err
	}
	e, info, err := sh.find(r.Context(), g, g.File)
	if err != nil {
		return err
	}
	setLength(h, info.sent(e), info.sent(e))
	if info.Msg != 0 {
		h.Set("Message-Id", strconv.FormatUint(uint64(info.Msg), 10))
	}
	return nil
}

func setLength(h http.Header, offset, size int64) {
	h.Set("Upload-Offset", strconv.FormatInt(offset, 10))
	h.Set("Upload-Length", strconv.FormatInt(size, 10))
}

// tusPatch takes the bytes that come next.
func (sh *shares) tusPatch(w http.ResponseWriter, r *http.Request, g share.Grant) error {
	if media, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); media != offsetType {
		return errType
	}
	at, err := strconv.ParseInt(r.Header.Get("Upload-Offset"), 10, 64)
	if err != nil || at < 0 {
		return errHeader
	}
	body := newBody(w, r)
	r.Body = body
	u, err := sh.take(r.Context(), g.File, g, body.interrupt)
	if errors.Is(err, blob.ErrNotFound) {
		if e, info, err := sh.find(r.Context(), g, g.File); err == nil {
			size := info.sent(e)
			setLength(w.Header(), size, size)
			if at == size && r.ContentLength == 0 {
				w.WriteHeader(http.StatusNoContent)
				return nil
			}
			return errAt
		}
	}
	if err != nil {
		return err
	}
	if at != u.Offset() {
		setLength(w.Header(), u.Offset(), u.Size())
		sh.letGo(u)
		return errAt
	}
	return sh.receive(w, r, u, http.StatusNoContent)
}

// receive takes the body of a request, and completes the upload when it is
// whole. It lets go of the upload in any case.
func (sh *shares) receive(w http.ResponseWriter, r *http.Request, u *blob.Upload, status int) error {
	if r.ContentLength > u.Size()-u.Offset() {
		sh.letGo(u)
		return errTooMuch
	}
	before := u.Offset()
	err := sh.readBody(u, r)
	sh.server.metrics.moved(kindShareIn, int(u.Offset()-before))
	setLength(w.Header(), u.Offset(), u.Size())
	if err != nil || u.Offset() < u.Size() {
		if errors.Is(err, errChecksum) {
			sh.letGoHolder(u)
			return errors.Join(err, u.Abandon())
		}
		sh.letGo(u)
		if err == nil {
			w.WriteHeader(status)
		}
		return err
	}
	sh.letGoHolder(u)
	if err := sh.complete(r.Context(), u); err != nil {
		return err
	}
	w.WriteHeader(status)
	return nil
}

// letGoHolder lets nobody interrupt what follows.
func (sh *shares) letGoHolder(u *blob.Upload) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	delete(sh.holders, u.ID())
}

// readBody appends the body of a request, and compares it with its checksum if
// it has one. errCut: the connection ended or another request came.
func (sh *shares) readBody(u *blob.Upload, r *http.Request) error {
	var note shareNote
	if err := json.Unmarshal(u.Note(), &note); err != nil {
		return fmt.Errorf("note of upload: %w", err)
	}
	from := io.Reader(&movingReader{Reader: r.Body, at: u.Offset(), note: func(done int64) {
		sh.moves.note(move{file: u.ID()}, &note.Info, u.Size(), done)
	}})
	sum, want, err := parseChecksum(r.Header.Get("Upload-Checksum"))
	if err != nil {
		return err
	}
	if sum != nil {
		if err := u.Hold(); err != nil {
			return err
		}
		from = io.TeeReader(from, sum)
	}
	if _, err := u.ReadFrom(from); err != nil {
		if sum != nil {
			return errors.Join(errChecksum, err) // what came cannot be checked
		}
		return err
	}
	if sum != nil && string(sum.Sum(nil)) != want {
		return errChecksum
	}
	return nil
}

// parseChecksum reads "sha1 base64"; no header gives no hash.
func parseChecksum(header string) (sum hash.Hash, want string, err error) {
	if header == "" {
		return nil, "", nil
	}
	kind, value, _ := strings.Cut(header, " ")
	switch kind {
	case "sha1":
		sum = sha1.New()
	case "sha256":
		sum = sha256.New()
	default:
		return nil, "", errSumKind
	}
	raw, err := base64.StdEncoding.DecodeString(value)
	if err != nil || len(raw) != sum.Size() {
		return nil, "", errSumKind
	}
	return sum, string(raw), nil
}

// tusDelete gives an upload up.
func (sh *shares) tusDelete(w http.ResponseWriter, r *http.Request, g share.Grant) error {
	u, err := sh.take(r.Context(), g.File, g, nil)
	if err != nil {
		return err // also for one that is complete: its message is sent
	}
	sh.letGoHolder(u)
	if err := u.Discard(); err != nil {
		return err
	}
	sh.release(g.File)
	sh.server.metrics.ended(kindShareIn, "cancelled")
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// errCut says that a body ended early.
var errCut = errors.New("the connection was lost")

// body is that of a PATCH: it waits for bytes as long as they come, and ends
// when another request wants the upload.
type body struct {
	io.ReadCloser
	control *http.ResponseController
	stopped atomic.Bool
}

func newBody(w http.ResponseWriter, r *http.Request) *body {
	return &body{ReadCloser: r.Body, control: http.NewResponseController(w)}
}

// Read is io.Reader's; every error but io.EOF is errCut.
func (b *body) Read(p []byte) (int, error) {
	_ = b.control.SetReadDeadline(time.Now().Add(stallTimeout)) //nolint:forbidigo // the deadline of a socket
	if b.stopped.Load() {
		return 0, errCut
	}
	n, err := b.ReadCloser.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = errors.Join(errCut, err)
	}
	return n, err
}

// interrupt makes Read end, from any goroutine. The order matters: whoever
// sets a later deadline sees that he is stopped.
func (b *body) interrupt() {
	b.stopped.Store(true)
	_ = b.control.SetReadDeadline(time.Unix(1, 0))
}

// digest is a hash as HTTP writes it. Source: RFC 9530.
func digest(h blob.Hash) string {
	return "sha-256=:" + base64.StdEncoding.EncodeToString(h[:]) + ":"
}
