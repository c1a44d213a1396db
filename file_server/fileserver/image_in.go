package fileserver

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"mime"
	"mime/multipart"
	"net/http"
	"regexp"
	"strings"
	"time"

	"teamtalk/file_server/internal/blob"
	"teamtalk/file_server/internal/catalog"
	"teamtalk/file_server/internal/image"
	"teamtalk/internal/share"
)

// uploadCode is the error_code of an answer; those up to 11 are msfs's own.
// Source: docs/protocol/flows.md §17.
type uploadCode int //nolint:errname // a code that is also the reason it is given for

// The codes.
//
//nolint:errname // likewise
const (
	codeOK            uploadCode = 0
	codeTooLarge      uploadCode = 1
	codeNoDisposition uploadCode = 2
	codeNoFileName    uploadCode = 3
	codeNoBoundary    uploadCode = 4
	codeNoPart        uploadCode = 5
	codeNoType        uploadCode = 6
	codeNoBlankLine   uploadCode = 7
	codeNotClosed     uploadCode = 8
	codeLongExt       uploadCode = 9
	codeNoExt         uploadCode = 10
	codeLongName      uploadCode = 11
	codeNoImage       uploadCode = 12 // the name says image, the content does not
	codePixels        uploadCode = 13
	codeNoSpace       uploadCode = 14
	codeInternal      uploadCode = 15
	codeQuota         uploadCode = 16
	codeToken         uploadCode = 17
)

// The texts of answers, as clients know them.
const (
	textOK       = "成功"
	textTooLarge = "上传文件过大"
	textFormat   = "格式错误"
	textFailed   = "上传失败"
)

// known is the code that clients are told: of the content of an image they know
// none of ours, and take what msfs says of a name or a size.
func (c uploadCode) known() uploadCode {
	switch c {
	case codeNoImage:
		return codeNoExt
	case codePixels:
		return codeTooLarge
	default:
		return c
	}
}

func (c uploadCode) Error() string { return fmt.Sprintf("upload code %d", int(c)) }

func (c uploadCode) text() string {
	switch {
	case c == codeOK:
		return textOK
	case c == codeTooLarge, c == codePixels:
		return textTooLarge
	case c >= codeNoSpace:
		return textFailed
	}
	return textFormat
}

// imageInfo is what the catalogue keeps of an image.
type imageInfo struct {
	Path string `json:"path"`           // under which it is served, without a slash in front
	Type string `json:"type,omitempty"` // media type; empty for what is no image
}

// multipartOverhead is room for what surrounds a file in a request.
const multipartOverhead = 16 << 10

// upload takes a file, on any path, and answers in JSON with status 200
// whatever happens, as msfs does.
func (f *httpFront) upload(w http.ResponseWriter, r *http.Request) {
	path, err := f.receive(w, r)
	code := codeOK
	if err != nil && !errors.As(err, &code) {
		code = codeInternal
		f.server.log.Error("image not stored", "error", err)
	}
	url := ""
	if code == codeOK {
		f.count("upload", "ok")
		base := f.server.cfg.ImageURL
		if base == "" {
			base = "http://" + r.Host + "/"
		}
		url = base + path
	} else {
		f.count("upload", fmt.Sprintf("code_%d", int(code)))
		w.Header().Set("Connection", "close") // the rest of the body is not read
	}
	answer, err := json.Marshal(struct {
		Code uploadCode `json:"error_code"`
		Msg  string     `json:"error_msg"`
		Path string     `json:"path"`
		URL  string     `json:"url"`
	}{code.known(), code.text(), path, url})
	if err != nil {
		f.fail(w, "failed", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html;charset=utf-8")
	_, _ = w.Write(answer) // the client may be gone
}

// patientBody gives the peer time as long as its bytes come.
type patientBody struct {
	io.Reader
	control *http.ResponseController
}

func (b *patientBody) Read(p []byte) (int, error) {
	_ = b.control.SetReadDeadline(time.Now().Add(stallTimeout)) //nolint:forbidigo // the deadline of a socket
	return b.Reader.Read(p)
}

// receive stores the file of a request and returns the path it is served
// under. An error that is no uploadCode is a fault of ours.
func (f *httpFront) receive(w http.ResponseWriter, r *http.Request) (path string, err error) {
	limit := f.server.cfg.MaxImageBytes
	if r.ContentLength > limit+multipartOverhead {
		return "", codeTooLarge
	}
	r.Body = http.MaxBytesReader(w, r.Body, limit+multipartOverhead)
	r.Body = struct {
		io.Reader
		io.Closer
	}{&patientBody{r.Body, http.NewResponseController(w)}, r.Body}
	owner, err := f.uploader(r)
	if err != nil {
		return "", err
	}
	parts, err := r.MultipartReader()
	if err != nil {
		return "", codeNoBoundary
	}
	part, ext, box, err := filePart(parts)
	if err != nil {
		return "", err
	}
	id := strings.ToLower(rand.Text())
	most := limit
	if r.ContentLength > 0 {
		most = min(limit, r.ContentLength)
	}
	release, err := f.server.catalog.Reserve(owner, most)
	if err != nil {
		return "", spaceCode(err)
	}
	defer release()
	u, err := f.server.store.Create("image-"+id, most, noteOf(catalog.Image))
	if err != nil {
		return "", spaceCode(err)
	}
	defer func() { err = errors.Join(err, u.Discard()) }()
	if _, err := u.ReadFrom(part); err != nil {
		return "", bodyCode(err)
	}
	if _, err := parts.NextRawPart(); !errors.Is(err, io.EOF) {
		return "", codeNotClosed
	}
	u.Cut()
	return f.keep(r.Context(), u, owner, id, ext, box)
}

// uploader is the user whose quota an upload counts against: that of its
// token, if it has one. The original's clients have none, and are nobody: 0.
func (f *httpFront) uploader(r *http.Request) (uint32, error) {
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok || f.server.shares == nil {
		return 0, nil
	}
	g, err := f.server.shares.signer.Verify(token, share.Upload, "")
	if err != nil {
		return 0, codeToken
	}
	return uint32(g.User), nil
}

// keep enters an upload under a new name.
func (f *httpFront) keep(
	ctx context.Context, u *blob.Upload, owner uint32, id, ext, box string,
) (path string, err error) {
	media, err := f.mediaType(u, ext)
	if err != nil {
		return "", err
	}
	if media != "" && f.server.cfg.StripExif {
		clean, err := f.server.stripped(u)
		if err != nil {
			return "", spaceCode(err)
		}
		if clean != nil {
			defer func() { err = errors.Join(err, clean.Discard()) }()
			u = clean
		}
	}
	hash, err := u.Commit(ctx)
	if err != nil {
		return "", spaceCode(err)
	}
	if path, err = newPath(id, box, ext); err != nil {
		return "", err
	}
	info, err := json.Marshal(imageInfo{Path: path, Type: media})
	if err != nil {
		return "", err
	}
	err = f.server.catalog.Add(ctx, catalog.Image, id, catalog.Entry{
		Hash: hash.String(), Size: u.Size(), Owner: owner, Info: info,
	})
	if err != nil {
		return "", spaceCode(err)
	}
	f.server.metrics.moved(kindImageIn, int(u.Size()))
	return path, nil
}

// imageExts are names that promise an image.
var imageExts = regexp.MustCompile(`^(?i:jpe?g|png|gif|bmp|webp)$`)

// mediaType is that of the content, whatever the name says; "" for what is no
// image.
func (f *httpFront) mediaType(u *blob.Upload, ext string) (string, error) {
	info, err := image.Inspect(io.NewSectionReader(u, 0, u.Size()), f.server.cfg.MaxImagePixels)
	switch {
	case err == nil:
		return info.Type, nil
	case errors.Is(err, image.ErrPixels):
		return "", codePixels
	case imageExts.MatchString(ext):
		return "", codeNoImage
	}
	return "", nil // no image, and not called one
}

// newPath makes the path of a new file: msfs's form, with a name that nobody
// can guess. Source: docs/protocol/defects.md D11.
func newPath(id, box, ext string) (string, error) {
	const folders = 255
	n, err := rand.Int(rand.Reader, big.NewInt(folders*folders))
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("g0/%03d/%03d/%s%s.%s", n.Int64()/folders, n.Int64()%folders, id, box, ext), nil
}

var (
	plainExt = regexp.MustCompile(`^[A-Za-z0-9]{1,15}$`)
	nameBox  = regexp.MustCompile(`_\d{1,4}x\d{1,4}$`)
)

// filePart finds the file in a request. ext is the end of its name, box a
// "_WxH" before that, or "". An error is an uploadCode.
func filePart(parts *multipart.Reader) (part *multipart.Part, ext, box string, err error) {
	part, err = parts.NextRawPart()
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return nil, "", "", codeNoPart
	case err != nil:
		if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
			return nil, "", "", codeTooLarge
		}
		if strings.Contains(err.Error(), "EOF") {
			return nil, "", "", codeNoPart
		}
		return nil, "", "", codeNoBlankLine
	}
	disposition := part.Header.Get("Content-Disposition")
	if disposition == "" {
		return nil, "", "", codeNoDisposition
	}
	_, params, err := mime.ParseMediaType(disposition)
	name, given := params["filename"]
	switch {
	case err != nil, !given:
		return nil, "", "", codeNoFileName
	case part.Header.Get("Content-Type") == "":
		return nil, "", "", codeNoType
	case len(name) > 255:
		return nil, "", "", codeLongName
	}
	dot := strings.LastIndexByte(name, '.')
	if dot < 0 {
		return nil, "", "", codeNoExt
	}
	if ext = name[dot+1:]; !plainExt.MatchString(ext) {
		return nil, "", "", codeLongExt
	}
	return part, ext, nameBox.FindString(name[:dot]), nil
}

// spaceCode gives a full disk and a quota that is used up their codes.
func spaceCode(err error) error {
	switch {
	case errors.Is(err, blob.ErrFull):
		return codeNoSpace
	case errors.Is(err, catalog.ErrQuota):
		return codeQuota
	}
	return err
}

// bodyCode says what is wrong with a body that ended before the file did.
func bodyCode(err error) error {
	var tooLarge *http.MaxBytesError
	switch {
	case errors.Is(err, blob.ErrOverrun), errors.As(err, &tooLarge):
		return codeTooLarge
	case errors.Is(err, blob.ErrFull):
		return codeNoSpace
	}
	return codeNotClosed
}
