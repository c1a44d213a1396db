package fileserver

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"image/jpeg"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"teamtalk/internal/im"
	"teamtalk/internal/share"
)

// photo is an image that says where it was made: at SECRETPLACE.
func photo(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "internal", "image", "testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(data, []byte("SECRETPLACE")) {
		t.Fatalf("%s has no secrets", name)
	}
	return data
}

func TestStripExif(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, store string) {
		w := sharing(t, store, "StripExif=1", "ImageSizes=32x32")
		for _, name := range []string{"photo.jpg", "progressive.jpg", "photo.png", "photo.webp", "photo.gif"} {
			_, got := w.get(w.uploadImage(name, photo(t, name)))
			if len(got) == 0 || bytes.Contains(got, []byte("SECRET")) {
				t.Errorf("%s: %q", name, got)
			}
		}
		_, small := w.get(w.uploadImage("a.jpg", photo(t, "photo.jpg")) + "_32x32.jpg")
		if c, err := jpeg.DecodeConfig(bytes.NewReader(small)); err != nil || c.Width != 24 || c.Height != 32 {
			t.Errorf("a photo that lies on its side, made smaller: %v, %v", c, err)
		}
		cut := photo(t, "progressive.jpg")
		cut = cut[:len(cut)-100] // in the middle of a scan
		if _, got := w.get(w.uploadImage("a.jpg", cut)); bytes.Contains(got, []byte("SECRET")) {
			t.Errorf("what was cut off: %q", got)
		}
		if code, _, _ := w.post("/", formType, form("a.jpg", cut[:100])); code != int(codeNoImage.known()) {
			t.Errorf("the first bytes of an image: code %d", code)
		}
		text := []byte("SECRETPLACE is where it is")
		if _, got := w.get(w.uploadImage("a.txt", text)); !bytes.Equal(got, text) {
			t.Errorf("a text became %q", got)
		}
		as := start(t, store)
		if _, got := as.get(as.uploadImage("a.jpg", photo(t, "photo.jpg"))); !bytes.Equal(got, photo(t, "photo.jpg")) {
			t.Error("changed without being asked to")
		}
	})
}

// A file of a message is compared with what its sender announced, and only
// then stripped; its sender sees his upload as he sent it.
func TestShareStripExif(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, store string) {
		w := sharing(t, store, "StripExif=1")
		for name, c := range map[string]struct {
			data  []byte
			strip bool
		}{
			"photo.jpg": {photo(t, "photo.jpg"), true},
			"untitled":  {photo(t, "photo.png"), true},
			"lies.jpg":  {[]byte("SECRETPLACE is where it is"), false},
			"notes.txt": {append([]byte("\xff\xd8\xff"), "SECRETPLACE"...), false},
		} {
			id := share.NewID(w.shares.name)
			token := w.token(share.Upload, alice, toBob(), id)
			w.want(w.do("POST", "/files/", token, bytes.NewReader(c.data), tusHeader, "Content-Type: application/offset+octet-stream",
				fmt.Sprintf("Upload-Length: %d", len(c.data)), metadata(name, hexSum(c.data))), 201)
			m := w.announced(im.OK)
			got := w.want(w.do("GET", "/files/"+id, w.token(share.Download, bob, toBob(), id), nil), 200).body
			if m.GetFileId() != id || hex.EncodeToString(m.GetHash()) != hexSum(got) || m.GetFileSize() != uint64(len(got)) {
				t.Errorf("%s: announced %v for %d bytes", name, m, len(got))
			}
			if c.strip == bytes.Contains(got, []byte("SECRET")) || !c.strip && !bytes.Equal(got, c.data) {
				t.Errorf("%s arrived as %q", name, got)
			}
			if at := w.offset(id, token); at != strconv.Itoa(len(c.data)) {
				t.Errorf("%s: offset %s for its sender", name, at)
			}
			w.want(w.patch(id, token, len(c.data), nil), 204)
		}
	})
}
