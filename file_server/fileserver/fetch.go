package fileserver

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"time"

	"teamtalk/internal/share"
)

// fetch serves a file of a message to a member of its conversation, whole or
// in ranges. What it is does not matter: nothing of it is ever shown.
func (sh *shares) fetch(w http.ResponseWriter, r *http.Request, id string) error {
	g, err := sh.grant(r, share.Download, id)
	if err != nil {
		return err
	}
	e, info, err := sh.find(r.Context(), g, id)
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
	defer content.Close() //nolint:errcheck // only read
	h := w.Header()
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": info.Name}))
	h.Set("ETag", `"`+hash.String()+`"`)
	h.Set("Repr-Digest", digest(hash))
	h.Set("Cache-Control", "private, no-store")
	out := &patientWriter{ResponseWriter: w, control: http.NewResponseController(w)}
	http.ServeContent(out, r, "", time.Unix(e.Created, 0), content)
	sh.server.metrics.moved(kindShareOut, int(out.sent))
	if out.err != nil {
		return errors.Join(errCut, out.err)
	}
	return nil
}

// pieceSize is how many bytes a receiver must take within stallTimeout.
const pieceSize = 1 << 20

// patientWriter gives the receiver time as long as he takes something, and
// leaves the kernel to send files.
type patientWriter struct {
	http.ResponseWriter
	control *http.ResponseController
	sent    int64
	err     error
}

func (p *patientWriter) Write(b []byte) (int, error) {
	_ = p.control.SetWriteDeadline(time.Now().Add(stallTimeout)) //nolint:forbidigo // the deadline of a socket
	n, err := p.ResponseWriter.Write(b)
	p.sent += int64(n)
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
		total, p.sent, whole.N = total+n, p.sent+n, whole.N-n
		if err != nil || n == 0 {
			p.err = errors.Join(p.err, err)
			return total, err
		}
	}
	return total, nil
}
