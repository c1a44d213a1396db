package fileserver

import (
	"bytes"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"teamtalk/file_server/internal/blob"
	"teamtalk/internal/im"
	"teamtalk/internal/link/linktest"
	"teamtalk/internal/secret"
	"teamtalk/internal/share"
	"teamtalk/internal/wire"
	"teamtalk/pb/extension"
)

const tokenSecret = "a secret of the tests"

// sharing starts a file_server for files of messages.
func sharing(t *testing.T, lines ...string) *world {
	t.Helper()
	w := start(t, append(lines, "FileTokenSecret="+tokenSecret)...)
	w.answered = map[string]bool{}
	w.info()
	return w
}

// info takes what the server says of itself to a msg_server.
func (w *world) info() *extension.IMFileServerInfo {
	w.t.Helper()
	info := new(extension.IMFileServerInfo)
	decode(w.t, w.hears(wire.FileServerInfo).Body, info)
	return info
}

// toBob is the conversation of the tests.
func toBob() im.Conversation { return im.SingleOf(alice, bob) }

func (w *world) token(right share.Right, user im.UserID, conv im.Conversation, id string) string {
	w.t.Helper()
	return w.tokenAt(time.Now(), right, user, conv, id)
}

// tokenAt is a token that was made at some time.
func (w *world) tokenAt(at time.Time, right share.Right, user im.UserID, conv im.Conversation, id string) string {
	w.t.Helper()
	token, _, err := share.NewSigner(secret.New(tokenSecret), func() time.Time { return at }).
		Sign(share.Grant{Right: right, File: id, User: user, Conv: conv})
	if err != nil {
		w.t.Fatal(err)
	}
	return token
}

// reply is an answer of the HTTP port.
type reply struct {
	*http.Response
	body []byte
}

// http sends a request; headers are "Name: value".
func (w *world) do(method, path, token string, body io.Reader, headers ...string) reply {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), method, "http://"+w.cfg.HTTPListen[0]+path, body)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Set(name, value)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return reply{res, text}
}

func (w *world) want(r reply, status int) reply {
	w.t.Helper()
	if r.StatusCode != status {
		w.t.Fatalf("%s %s: %s %q, want %d", r.Request.Method, r.Request.URL, r.Status, r.body, status)
	}
	return r
}

const tusHeader = "Tus-Resumable: 1.0.0"

func metadata(name, sum string) string {
	enc := base64.StdEncoding.EncodeToString
	text := "Upload-Metadata: filename " + enc([]byte(name))
	if sum != "" {
		text += ",sha256 " + enc([]byte(sum))
	}
	return text
}

// begin begins an upload of alice's to bob.
func (w *world) begin(size int, sum string) (id, token string) {
	w.t.Helper()
	id = share.NewID(w.shares.name)
	token = w.token(share.Upload, alice, toBob(), id)
	r := w.want(w.do("POST", "/files/", token, nil, tusHeader, fmt.Sprintf("Upload-Length: %d", size), metadata("a b.txt", sum)), 201)
	if r.Header.Get("Location") != w.cfg.FilesURL+"files/"+id {
		w.t.Fatalf("location %q", r.Header.Get("Location"))
	}
	return id, token
}

func (w *world) patch(id, token string, at int, data []byte, headers ...string) reply {
	w.t.Helper()
	return w.do("PATCH", "/files/"+id, token, bytes.NewReader(data), append(headers, tusHeader,
		"Content-Type: application/offset+octet-stream", fmt.Sprintf("Upload-Offset: %d", at))...)
}

// offset asks how much has come.
func (w *world) offset(id, token string) string {
	w.t.Helper()
	return w.want(w.do("HEAD", "/files/"+id, token, nil, tusHeader), 200).Header.Get("Upload-Offset")
}

// announced takes the word that a file is complete, and answers it. What was
// answered may be told again, if the answer was late.
func (w *world) announced(code im.Code) *extension.IMFileStored {
	w.t.Helper()
	m := new(extension.IMFileStored)
	for ok := true; ok; ok = w.answered[m.GetFileId()] {
		m = new(extension.IMFileStored)
		decode(w.t, w.hears(wire.FileStored).Body, m)
	}
	w.answered[m.GetFileId()] = true
	w.msg.Send(wire.FileStoredAck, 0, &extension.IMFileStoredAck{
		FileId: m.FileId, ResultCode: proto.Uint32(uint32(code)), MsgId: proto.Uint32(77),
	})
	return m
}

func hexSum(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// eventually waits until something holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	linktest.Eventually(t, what, holds)
}

func TestShare(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, store string) {
		w := sharing(t, store)
		data := content(300_000)
		id, token := w.begin(len(data), hexSum(data))
		if got := w.offset(id, token); got != "0" {
			t.Errorf("offset %s of a new upload", got)
		}
		w.want(w.patch(id, token, 0, data[:100_000]), 204)
		bobs := w.token(share.Download, bob, toBob(), id)
		if r := w.want(w.do("GET", "/files/"+id, bobs, nil), 409); r.Header.Get("Upload-Offset") != "100000" {
			t.Errorf("on its way, it stands at %q", r.Header.Get("Upload-Offset"))
		}
		w.want(w.patch(id, token, 100_000, data[100_000:]), 204)
		m := w.announced(im.OK)
		if m.GetFileId() != id || m.GetFromUserId() != alice || m.GetToSessionId() != bob || m.GetFileName() != "a b.txt" ||
			m.GetFileSize() != 300_000 || hex.EncodeToString(m.GetHash()) != hexSum(data) {
			t.Errorf("announced %v", m)
		}
		r := w.want(w.do("GET", "/files/"+id, bobs, nil), 200)
		equal(t, r.body, data)
		for name, want := range map[string]string{
			"Content-Disposition": `attachment; filename="a b.txt"`, "X-Content-Type-Options": "nosniff",
			"Content-Type": "application/octet-stream", "Etag": `"` + hexSum(data) + `"`,
		} {
			if got := r.Header.Get(name); got != want {
				t.Errorf("%s: %q", name, got)
			}
		}
		r = w.want(w.do("GET", "/files/"+id, bobs, nil, "Range: bytes=250000-", `If-Range: "`+hexSum(data)+`"`), 206)
		equal(t, r.body, data[250_000:])

		eventually(t, "message id", func() bool {
			return w.want(w.do("HEAD", "/files/"+id, token, nil, tusHeader), 200).Header.Get("Message-Id") == "77"
		})
		if got := w.offset(id, token); got != "300000" {
			t.Errorf("offset %s at the end", got)
		}
		w.want(w.patch(id, token, 300_000, nil), 204)
		w.want(w.patch(id, token, 0, data), 409)
		w.want(w.do("DELETE", "/files/"+id, token, nil, tusHeader), 404)
	})
}

// Who may not have a file does not learn that it is there.
func TestShareRights(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, store string) {
		w := sharing(t, store)
		data := content(1000)
		id, token := w.begin(len(data), "")
		w.want(w.patch(id, token, 0, data[:500]), 204)
		carols := w.token(share.Upload, carol, im.SingleOf(carol, bob), id)
		bobs := w.token(share.Upload, bob, toBob(), id)
		for who, other := range map[string]string{"carol": carols, "bob": bobs, "alice elsewhere": w.token(share.Upload, alice, im.GroupOf(bob), id)} {
			if r := w.patch(id, other, 500, data[500:]); r.StatusCode != http.StatusNotFound {
				t.Errorf("%s goes on: %s", who, r.Status)
			}
			w.want(w.do("DELETE", "/files/"+id, other, nil, tusHeader), 404)
			w.want(w.do("HEAD", "/files/"+id, other, nil, tusHeader), 404)
		}
		longAgo := time.Now().Add(-share.TokenFor - time.Minute)
		expired := w.tokenAt(longAgo, share.Upload, alice, toBob(), id)
		w.want(w.patch(id, expired, 500, data[500:]), 401)
		w.want(w.do("HEAD", "/files/"+id, expired, nil, tusHeader), 401)
		w.want(w.do("DELETE", "/files/"+id, expired, nil, tusHeader), 401)
		w.want(w.patch(id, token, 500, data[500:]), 204)
		w.announced(im.OK)
		other := share.NewID(w.shares.name)
		for what, token := range map[string]string{
			"none": "", "nonsense": "x.y.z", "for sending": token,
			"of another file": w.token(share.Download, bob, toBob(), other),
			"expired":         w.tokenAt(longAgo, share.Download, bob, toBob(), id),
		} {
			if r := w.do("GET", "/files/"+id, token, nil); r.StatusCode != http.StatusUnauthorized {
				t.Errorf("token %s: %s", what, r.Status)
			}
		}
		w.want(w.do("GET", "/files/"+id, w.token(share.Download, carol, im.SingleOf(carol, alice), id), nil), 404)
		w.want(w.do("GET", "/files/"+other, w.token(share.Download, bob, toBob(), other), nil), 404)
		w.want(w.do("GET", "/files/"+id, w.token(share.Download, alice, toBob(), id), nil), 200)
	})
}

func TestShareBadInput(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, store string) {
		w := sharing(t, store, "UserQuota=1MiB")
		id := share.NewID(w.shares.name)
		token := w.token(share.Upload, alice, toBob(), id)
		ok := metadata("a.txt", "")
		for what, try := range map[string]struct {
			headers []string
			status  int
		}{
			"no version":         {[]string{"Tus-Resumable: 0.9", "Upload-Length: 5", ok}, 412},
			"no length":          {[]string{tusHeader, ok}, 400},
			"negative length":    {[]string{tusHeader, "Upload-Length: -1", ok}, 400},
			"over the quota":     {[]string{tusHeader, "Upload-Length: 1048577", ok}, 413},
			"4 GiB over quota":   {[]string{tusHeader, "Upload-Length: 4294967296", ok}, 413},
			"no name":            {[]string{tusHeader, "Upload-Length: 5"}, 400},
			"name without end":   {[]string{tusHeader, "Upload-Length: 5", metadata("../..", "")}, 400},
			"metadata no base64": {[]string{tusHeader, "Upload-Length: 5", "Upload-Metadata: filename %%"}, 400},
			"sum is none":        {[]string{tusHeader, "Upload-Length: 5", metadata("a", "12")}, 400},
			"concatenation":      {[]string{tusHeader, "Upload-Length: 5", ok, "Upload-Concat: partial"}, 400},
		} {
			if r := w.do("POST", "/files/", token, nil, try.headers...); r.StatusCode != try.status {
				t.Errorf("%s: %s", what, r.Status)
			}
		}
		w.want(w.do("POST", "/files/", token, nil, tusHeader, "Upload-Length: 1048576", ok), 201)
		w.want(w.do("POST", "/files/", token, nil, tusHeader, "Upload-Length: 1048576", ok), 409)
		data := content(1 << 20)
		w.want(w.patch(id, token, 5, data[:10]), 409)
		w.want(w.patch(id, token, -5, data[:10]), 400)
		w.want(w.patch(id, token, 0, append(data, 1)), 413)
		w.want(w.do("PATCH", "/files/"+id, token, strings.NewReader("x"), tusHeader, "Upload-Offset: 0"), 415)
		w.want(w.do("PUT", "/files/"+id, token, nil, tusHeader), 405)
		w.want(w.do("GET", "/files/../"+id, token, nil), 400)
		// More bytes than announced, in a body whose length is not known before.
		chunked := struct{ io.Reader }{bytes.NewReader(append(data, 1))}
		w.want(w.do("PATCH", "/files/"+id, token, chunked, tusHeader, "Content-Type: application/offset+octet-stream", "Upload-Offset: 0"), 413)
		w.want(w.do("DELETE", "/files/"+id, token, nil, tusHeader), 204)
		if used := w.catalog.Used(alice); used != 0 {
			t.Errorf("%d bytes of quota after the end", used)
		}
		id, token = w.begin(5, hexSum([]byte("other")))
		w.want(w.patch(id, token, 0, []byte("these")), 460)
		w.want(w.do("HEAD", "/files/"+id, token, nil, tusHeader), 404)
		id, _ = w.begin(0, "")
		if m := w.announced(im.OK); m.GetFileId() != id || m.GetFileSize() != 0 {
			t.Errorf("empty file: %v", m)
		}
		w.want(w.do("GET", "/files/"+id, w.token(share.Download, bob, toBob(), id), nil), 200)
	})
}

func TestShareChecksum(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, store string) {
		w := sharing(t, store)
		data := content(100_000)
		id, token := w.begin(len(data), "")
		header := func(part []byte) string {
			sum := sha1.Sum(part)
			return "Upload-Checksum: sha1 " + base64.StdEncoding.EncodeToString(sum[:])
		}
		w.want(w.patch(id, token, 0, data[:40_000], header(data[:40_000])), 204)
		w.want(w.patch(id, token, 40_000, data[40_000:], header(data[:9])), 460)
		w.want(w.patch(id, token, 40_000, data[40_000:], "Upload-Checksum: md5 AAAA"), 400)
		if got := w.offset(id, token); got != "40000" {
			t.Fatalf("offset %s after a bad part", got)
		}
		w.want(w.patch(id, token, 40_000, data[40_000:], header(data[40_000:])), 204)
		if m := w.announced(im.OK); hex.EncodeToString(m.GetHash()) != hexSum(data) {
			t.Error("content differs")
		}
	})
}

// A connection that is dead without our knowing keeps nobody from going on.
func TestShareInterrupt(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, store string) {
		w := sharing(t, store)
		data := content(200_000)
		id, token := w.begin(len(data), "")
		dead, err := net.Dial("tcp", w.cfg.HTTPListen[0])
		if err != nil {
			t.Fatal(err)
		}
		defer dead.Close()
		fmt.Fprintf(dead, "PATCH /files/%s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nTus-Resumable: 1.0.0\r\n"+
			"Content-Type: application/offset+octet-stream\r\nUpload-Offset: 0\r\nContent-Length: 200000\r\n\r\n", id, token)
		if _, err := dead.Write(data[:70_000]); err != nil {
			t.Fatal(err)
		}
		part := filepath.Join(w.cfg.DataDir, "uploads", id+".part")
		eventually(t, "first bytes", func() bool { info, err := os.Stat(part); return err == nil && info.Size() == 70_000 })
		if got := w.offset(id, token); got != "70000" {
			t.Fatalf("offset %s", got)
		}
		w.want(w.patch(id, token, 70_000, data[70_000:]), 204)
		if m := w.announced(im.OK); hex.EncodeToString(m.GetHash()) != hexSum(data) {
			t.Error("content differs")
		}
	})
}

// What is complete is told of until a msg_server says that it is done; an
// upload goes on after a restart.
func TestShareRestart(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, store string) {
		w := sharing(t, store)
		name := w.shares.name
		whole, half := content(5000), content(9000)
		first, token := w.begin(len(whole), "")
		w.want(w.patch(first, token, 0, whole), 204)
		w.hears(wire.FileStored) // and never answered
		second, token2 := w.begin(len(half), "")
		w.want(w.patch(second, token2, 0, half[:4000]), 204)
		w.stop()
		w.run()
		if w.info(); w.shares.name != name {
			t.Fatal("the server has another name")
		}
		if used := w.catalog.Used(alice); used != 14000 {
			t.Errorf("%d bytes of quota used", used)
		}
		if m := w.announced(im.OK); m.GetFileId() != first {
			t.Fatalf("told of %v", m)
		}
		if got := w.offset(second, token2); got != "4000" {
			t.Errorf("offset %s", got)
		}
		w.want(w.patch(second, token2, 4000, half[4000:]), 204)
		if m := w.announced(im.Denied); m.GetFileId() != second {
			t.Fatalf("told of %v", m)
		}
		// A file whose message was refused is gone.
		eventually(t, "refused file removed", func() bool {
			return w.do("GET", "/files/"+second, w.token(share.Download, alice, toBob(), second), nil).StatusCode == http.StatusNotFound
		})
		w.want(w.do("GET", "/files/"+first, w.token(share.Download, bob, toBob(), first), nil), 200)
		eventually(t, "quota of the refused file given back", func() bool { return w.catalog.Used(alice) == 5000 })
	})
}

// Two users who send the same content keep it once, and cannot tell.
func TestShareSameContent(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, store string) {
		w := sharing(t, store)
		data := content(50_000)
		for range 2 {
			id, token := w.begin(len(data), hexSum(data))
			if got := w.offset(id, token); got != "0" {
				t.Errorf("offset %s: the content is known to exist", got)
			}
			w.want(w.patch(id, token, 0, data), 204)
			w.announced(im.OK)
		}
		if done, err := w.catalog.Collect(t.Context(), true); err != nil || done.Blobs != 0 {
			t.Errorf("%+v, %v", done, err)
		}
		blobs := 0
		err := w.store.Blobs(t.Context(), func(blob.Blob) error { blobs++; return nil })
		if err != nil || blobs != 1 {
			t.Errorf("%d blobs, %v", blobs, err)
		}
	})
}
