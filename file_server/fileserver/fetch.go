package fileserver

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"time"

	"teamtalk/file_server/internal/blob"
	"teamtalk/file_server/internal/catalog"
	"teamtalk/internal/share"
)

// fetch serves a file of a message to a member of its conversation, whole or
// in ranges. What it is does not matter: nothing of it is ever shown.
func (sh *shares) fetch(w http.ResponseWriter, r *http.Request, id string) error {
	g, err := sh.grant(r, share.Download, id)
	if err != nil {
		return err
	}
	e, info, err := sh.look(r.Context(), w.Header(), g, id)
	if err != nil {
		return err
	}
	hash, err := e.Blob()
	if err != nil {
		return err
	}
	content, _, err := sh.server.store.Open(r.Context(), hash)
	if err != nil {
		return err
	}
	defer content.Close()
	h := w.Header()
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": info.Name}))
	h.Set("ETag", `"`+hash.String()+`"`)
	h.Set("Repr-Digest", digest(hash))
	h.Set("Cache-Control", "private, no-store")
	out := &patientWriter{ResponseWriter: w, control: http.NewResponseController(w)}
	if uint32(g.User) != info.From && r.Method == http.MethodGet {
		out.note = func(done int64) { sh.moves.note(move{id, g.User}, &info, e.Size, done) }
	}
	http.ServeContent(out, r, "", time.Unix(e.Created, 0), content)
	sh.server.metrics.moved(kindShareOut, int(out.sent))
	if out.err != nil {
		return errors.Join(errCut, out.err)
	}
	return nil
}

// look finds a complete file, or says how far one is that is on its way:
// errComing. It looks first where a file leaves, then where it arrives: complete
// enters a file before it removes the upload, so one that is not among the
// uploads any more is in the catalogue by now.
func (sh *shares) look(
	ctx context.Context, h http.Header, g share.Grant, id string,
) (catalog.Entry, sharedInfo, error) {
	upload, peeked := sh.server.store.Peek(id)
	sh.server.at("look")
	e, info, err := sh.find(ctx, g, id)
	if errors.Is(err, blob.ErrNotFound) && peeked == nil && sh.coming(h, g, id, upload) {
		err = errComing
	}
	return e, info, err
}

// coming reports whether an upload is that of a file for a member of its
// conversation, and says how far it is. Nothing of it is served before it is
// whole.
func (sh *shares) coming(h http.Header, g share.Grant, id string, p blob.Pending) bool {
	var note shareNote
	if json.Unmarshal(p.Note, &note) != nil || note.Of != catalog.Shared || note.Info.conv() != g.Conv {
		return false
	}
	setLength(h, max(p.Offset, sh.moves.of(id)), p.Size)
	return true
}

// pieceSize is how many bytes a receiver must take within stallTimeout.
const pieceSize = 1 << 20

// patientWriter gives the receiver time as long as he takes something, and
// leaves the kernel to send files.
type patientWriter struct {
	http.ResponseWriter
	control *http.ResponseController
	note    func(done int64) // how far the receiver is; nil when nobody wants to know
	at      int64            // where what is sent begins in the file
	sent    int64
	err     error
}

// WriteHeader is http.ResponseWriter's; it tells which part of the file comes.
func (p *patientWriter) WriteHeader(status int) {
	at, one := beginning(status, p.Header())
	if p.at = at; !one {
		p.note = nil
	}
	p.ResponseWriter.WriteHeader(status)
}

func (p *patientWriter) moved(n int64) {
	p.sent += n
	if p.note != nil && n > 0 {
		p.note(p.at + p.sent)
	}
}

func (p *patientWriter) Write(b []byte) (int, error) {
	_ = p.control.SetWriteDeadline(time.Now().Add(stallTimeout)) //nolint:forbidigo // the deadline of a socket
	n, err := p.ResponseWriter.Write(b)
	p.moved(int64(n))
	p.err = errors.Join(p.err, err)
	return n, err
}

// ReadFrom is io.ReaderFrom's, which http.ServeContent ends up with.
func (p *patientWriter) ReadFrom(r io.Reader) (total int64, err error) {
	to, direct := p.ResponseWriter.(io.ReaderFrom)
	whole, limited := r.(*io.LimitedReader)
	if !direct || !limited {
		return io.Copy(struct{ io.Writer }{p}, r)
	}
	for whole.N > 0 {
		_ = p.control.SetWriteDeadline(time.Now().Add(stallTimeout)) //nolint:forbidigo // the deadline of a socket
		piece := &io.LimitedReader{R: whole.R, N: min(pieceSize, whole.N)}
		n, err := to.ReadFrom(piece)
		total, whole.N = total+n, whole.N-n
		p.moved(n)
		if err != nil || n == 0 {
			p.err = errors.Join(p.err, err)
			return total, err
		}
	}
	return total, nil
}
