package fileserver

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"image"
	"image/jpeg"
	"image/png"
	"io"
	"mime/multipart"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"teamtalk/internal/im"
	"teamtalk/internal/share"
)

// post sends a body as multipart, which it need not be.
func (w *world) post(path, contentType, body string) (code int, text, url string) {
	w.t.Helper()
	res, err := http.Post("http://"+w.cfg.HTTPListen[0]+path, contentType, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	defer res.Body.Close()
	if ct := res.Header.Get("Content-Type"); res.StatusCode != http.StatusOK || ct != "text/html;charset=utf-8" {
		w.t.Fatalf("%s, %s", res.Status, ct)
	}
	var answer struct {
		Code *int    `json:"error_code"`
		Msg  string  `json:"error_msg"`
		Path *string `json:"path"` // also of what is refused: docs/protocol/defects.md H4
		URL  string  `json:"url"`
	}
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil || answer.Code == nil || answer.Path == nil {
		w.t.Fatalf("%+v, %v", answer, err)
	}
	if !strings.HasSuffix(answer.URL, *answer.Path) || (answer.URL == "") != (*answer.Code != 0) {
		w.t.Fatalf("%+v", answer)
	}
	return *answer.Code, answer.Msg, answer.URL
}

const formType = "multipart/form-data; boundary=xyz"

// form is a request with one file, as phones send it.
func form(name string, content []byte) string {
	return "--xyz\r\nContent-Disposition: form-data; name=\"file0\"; filename=\"" + name + "\"\r\n" +
		"Content-Type: application/octet-stream\r\n\r\n" + string(content) + "\r\n--xyz--\r\n"
}

func (w *world) uploadImage(name string, content []byte) (url string) {
	w.t.Helper()
	code, text, url := w.post("/upload/", formType, form(name, content))
	if code != 0 || text != "成功" {
		w.t.Fatalf("%d %s", code, text)
	}
	return url
}

func (w *world) get(url string, header ...string) (*http.Response, []byte) {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), http.MethodGet, url, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return res, body
}

func picture(t *testing.T, format string, w, h int) []byte {
	t.Helper()
	p := image.NewRGBA(image.Rect(0, 0, w, h))
	for i := range p.Pix {
		p.Pix[i] = 0xff
	}
	var b bytes.Buffer
	err := png.Encode(&b, p)
	if format == "jpeg" {
		b.Reset()
		err = jpeg.Encode(&b, p, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

var urlForm = regexp.MustCompile(`^http://127\.0\.0\.1:\d+/g0/\d{3}/\d{3}/[a-z2-7]{26}(_\d+x\d+)?\.\w+$`)

func TestImages(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, store string) {
		w := start(t, store)
		data := picture(t, "jpeg", 400, 200)
		url := w.uploadImage("a.jpg", data)
		if !urlForm.MatchString(url) {
			t.Errorf("url %s", url)
		}
		res, got := w.get(url)
		equal(t, got, data)
		h := res.Header
		if h.Get("Content-Type") != "image/jpeg" || h.Get("X-Content-Type-Options") != "nosniff" ||
			!strings.Contains(h.Get("Cache-Control"), "immutable") || h.Get("ETag") == "" {
			t.Errorf("header %v", h)
		}
		if res, _ := w.get(url, "If-None-Match", h.Get("ETag")); res.StatusCode != http.StatusNotModified {
			t.Errorf("with the ETag: %s", res.Status)
		}
		if res, got := w.get(url, "Range", "bytes=10-19"); res.StatusCode != http.StatusPartialContent || !bytes.Equal(got, data[10:20]) {
			t.Errorf("a range: %s, %d bytes", res.Status, len(got))
		}
		if _, got := w.get(strings.Replace(url, "/g0/", "/M00/", 1)); !bytes.Equal(got, data) {
			t.Error("the first component is looked at")
		}
		for range 2 { // made, and kept
			_, small := w.get(url + "_100x100.jpg")
			c, err := jpeg.DecodeConfig(bytes.NewReader(small))
			if err != nil || c.Width != 100 || c.Height != 50 {
				t.Fatalf("a variant: %v, %v", c, err)
			}
		}
		for _, end := range []string{"_101x100.jpg", "_480x480.jpg", "_0x0.jpg"} { // not offered, not smaller, no size
			if _, got := w.get(url + end); !bytes.Equal(got, data) {
				t.Errorf("%s is not the image", end)
			}
		}
		sized := w.uploadImage("b_640x480.png", picture(t, "png", 640, 480))
		if !strings.HasSuffix(sized, "_640x480.png") {
			t.Errorf("url %s", sized)
		}
		if res, _ := w.get(sized + "_32x32.jpg"); res.StatusCode != http.StatusOK {
			t.Errorf("a variant of a name with a size: %s", res.Status)
		}
		if res, _ := w.get(w.uploadImage("c.jpg", picture(t, "png", 5, 5))); res.Header.Get("Content-Type") != "image/png" {
			t.Errorf("a PNG called jpg: %v", res.Header)
		}
		w.stop()
		w.run()
		if _, got := w.get(url); !bytes.Equal(got, data) {
			t.Error("after a restart it is not served")
		}
	})
}

// Nobody finds the names of others' images by looking at their own.
// Source: docs/protocol/defects.md D11.
func TestImageNamesCannotBeGuessed(t *testing.T) {
	t.Parallel()
	w := start(t)
	data := picture(t, "png", 5, 5)
	var names [2]string
	for i := range names {
		url := w.uploadImage("a.png", data)
		names[i] = url[strings.LastIndexByte(url, '/')+1:]
	}
	same := 0
	for i := range min(len(names[0]), len(names[1])) - len(".png") {
		if names[0][i] == names[1][i] {
			same++
		}
	}
	if same > 12 {
		t.Errorf("two names have %d characters in common: %v", same, names)
	}
}

// What clients are told begins as they reach the server, whatever Host they
// wrote. Source: docs/protocol/defects.md H5.
func TestImageURL(t *testing.T) {
	t.Parallel()
	w := start(t, "ImageURL=https://img.example.com/a")
	url := w.uploadImage("a.png", picture(t, "png", 5, 5))
	path, found := strings.CutPrefix(url, "https://img.example.com/a/")
	if !found {
		t.Fatalf("url %s", url)
	}
	if res, _ := w.get("http://" + w.cfg.HTTPListen[0] + "/" + path); res.StatusCode != http.StatusOK {
		t.Errorf("%s: %s", path, res.Status)
	}
}

// What is neither refused nor stored does not exist: each file up to the limit
// is served again. Source: docs/protocol/defects.md H1.
func TestLargeUploads(t *testing.T) {
	t.Parallel()
	w := start(t)
	for _, size := range []int{5 << 20, 5<<20 + 1, 10 << 20} {
		data := content(size)
		_, got := w.get(w.uploadImage("a.bin", data))
		equal(t, got, data)
	}
	if code, _, _ := w.post("/upload/", formType, form("a.bin", content(10<<20+1))); code != 1 {
		t.Errorf("over the limit: code %d", code)
	}
}

func TestOtherFiles(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, store string) {
		w := start(t, store)
		res, got := w.get(w.uploadImage("1.audio", []byte("OggS")))
		if string(got) != "OggS" || res.Header.Get("Content-Type") != "application/octet-stream" ||
			res.Header.Get("Content-Disposition") != "attachment" || res.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%q %v", got, res.Header)
		}
		if res, _ := w.get(w.uploadImage("x.html", []byte("<script>"))); res.Header.Get("Content-Type") != "application/octet-stream" {
			t.Errorf("HTML: %v", res.Header)
		}
	})
}

// bomb is a PNG of which only the head says how large it is.
func bomb(w, h uint32) []byte {
	head := binary.BigEndian.AppendUint32([]byte("IHDR"), w)
	head = append(binary.BigEndian.AppendUint32(head, h), 8, 6, 0, 0, 0)
	out := binary.BigEndian.AppendUint32([]byte("\x89PNG\r\n\x1a\n"), uint32(len(head)-4))
	return binary.BigEndian.AppendUint32(append(out, head...), crc32.ChecksumIEEE(head))
}

// Source: docs/protocol/flows.md §17; docs/protocol/defects.md H1.
func TestBadUploads(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, store string) {
		w := start(t, store, "MaxImageBytes=100000")
		part := func(header string) string { return "--xyz\r\n" + header + "\r\n\r\nx\r\n--xyz--\r\n" }
		const disposition = `Content-Disposition: form-data; name="f"; `
		for name, c := range map[string]struct {
			contentType, body string
			code              int
		}{
			"too large, said":      {formType, form("a.bin", make([]byte, 200_000)), 1},
			"too large":            {formType, form("a.bin", make([]byte, 100_001)), 1},
			"no disposition":       {formType, part("Content-Type: a/b"), 2},
			"no file name":         {formType, part(strings.TrimSuffix(disposition, "; ") + "\r\nContent-Type: a/b"), 3},
			"no boundary":          {"multipart/form-data", form("a.bin", nil), 4},
			"no multipart":         {"text/plain", "x", 4},
			"boundary not in body": {formType, "nothing", 5},
			"empty":                {formType, "", 5},
			"no type":              {formType, part(disposition + `filename="a.bin"`), 6},
			"not closed":           {formType, strings.TrimSuffix(form("a.bin", []byte("x")), "\r\n--xyz--\r\n"), 8},
			"two files":            {formType, strings.Replace(form("a.bin", []byte("x")), "--xyz--", "--xyz\r\nA: b\r\n\r\ny\r\n--xyz--", 1), 8},
			"long end":             {formType, form("a."+strings.Repeat("b", 16), nil), 9},
			"end of a path":        {formType, form("a./etc", nil), 9},
			"no end":               {formType, form("abc", nil), 10},
			"long name":            {formType, form(strings.Repeat("a", 255)+".b", nil), 11},
			"lies":                 {formType, form("a.jpg", []byte("<html>")), 10},
			"lies, GIF":            {formType, form("a.GIF", []byte("GIF8")), 10},
			"explodes":             {formType, form("a.png", bomb(60_000, 60_000)), 1},
		} {
			t.Run(name, func(t *testing.T) {
				if code, _, _ := w.post("/any/path", c.contentType, c.body); code != c.code {
					t.Errorf("code %d, want %d", code, c.code)
				}
			})
		}
		full := start(t, store, "MinFree=1048576GiB")
		if code, _, _ := full.post("/", formType, form("a.bin", []byte("x"))); code != 14 {
			t.Errorf("without space: %d", code)
		}
	})
}

func TestBadDownloads(t *testing.T) {
	t.Parallel()
	w := start(t)
	url := w.uploadImage("a.bin", []byte("x"))
	base := "http://" + w.cfg.HTTPListen[0]
	for _, path := range []string{
		"/", "/g0", "/g0/000/000/x.jpg", "/g0/000/000/" + strings.Repeat("a", 26) + ".jpg",
		url[len(base) : len(url)-1], url[len(base):] + "x", url[len(base):] + "/", "/a" + url[len(base):],
	} {
		if res, _ := w.get(base + path); res.StatusCode != http.StatusNotFound {
			t.Errorf("%s: %s", path, res.Status)
		}
	}
	for _, path := range []string{"/g0/%2e%2e/%2e%2e/etc/passwd", "/g0/..%2f..%2fetc/passwd"} {
		if res, _ := w.get(base + path); res.StatusCode != http.StatusBadRequest {
			t.Errorf("%s: %s", path, res.Status)
		}
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodDelete, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusForbidden {
		t.Errorf("DELETE: %s", res.Status)
	}
}

// Whoever says who he is has a quota; all the others have one together. What
// nobody fetches goes, where the configuration says so.
func TestImageQuotaAndExpiry(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, store string) {
		w := sharing(t, store, "UserQuota=2KiB", "ImageQuota=3KiB", "ImageExpiry=100h")
		post := func(token string) (code int) {
			body := strings.NewReader(form("a.bin", content(1500)))
			r := w.do("POST", "/", token, body, "Content-Type: "+formType)
			if _, err := fmt.Sscanf(string(r.body), `{"error_code":%d,`, &code); err != nil {
				t.Fatalf("%q: %v", r.body, err)
			}
			return code
		}
		token := func(user im.UserID, right share.Right) string {
			return w.token(right, user, im.SingleOf(user, carol), share.NewID(w.shares.name))
		}
		for i, try := range []struct {
			token string
			want  uploadCode
		}{
			{token(alice, share.Upload), codeOK},
			{token(alice, share.Upload), codeQuota},
			{token(bob, share.Upload), codeOK},
			{token(bob, share.Download), codeToken},
			{w.tokenAt(time.Now().Add(-time.Hour), share.Upload, bob, toBob(), share.NewID(w.shares.name)), codeToken},
			{"", codeOK},
			{"", codeQuota},
		} {
			if code := post(try.token); code != int(try.want) {
				t.Errorf("upload %d: code %d, want %d", i, code, try.want)
			}
		}
		url := w.uploadImage("b.bin", []byte("seen"))
		for range 3 {
			w.later.Add(int64(90 * time.Hour))
			if res, _ := w.get(url); res.StatusCode != http.StatusOK {
				t.Fatalf("an image that is fetched: %s", res.Status)
			}
		}
		done, err := w.collectOnce(t.Context(), false)
		if err != nil || done.Expired != 3 || w.catalog.Used(0) != 4 || w.catalog.Used(alice) != 0 {
			t.Errorf("collected %+v, %v; %d bytes of nobody, %d of alice", done, err, w.catalog.Used(0), w.catalog.Used(alice))
		}
		w.later.Add(int64(101 * time.Hour))
		if res, _ := w.get(url); res.StatusCode != http.StatusNotFound {
			t.Errorf("an image that is fetched too late: %s", res.Status)
		}
	})
}

func FuzzUpload(f *testing.F) {
	f.Add(form("a.bin", []byte("x")))
	f.Add("--xyz\r\nContent-Disposition: form-data; filename=\"a.b\"\r\n\r\n")
	f.Fuzz(func(t *testing.T, body string) {
		if err := fuzzPart(body); err != nil {
			t.Error(err)
		}
	})
}

// fuzzPart looks for the file in a body.
func fuzzPart(body string) error {
	_, ext, box, err := filePart(multipart.NewReader(strings.NewReader(body), "xyz"))
	if err == nil && (!plainExt.MatchString(ext) || strings.ContainsAny(ext+box, "/\\.")) {
		return fmt.Errorf("end %q, box %q", ext, box)
	}
	return nil
}
