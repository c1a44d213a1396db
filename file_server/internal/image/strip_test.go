package image

import (
	"bytes"
	"errors"
	"image"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"testing/iotest"
)

// photos are files with a place, a camera, names and comments in EXIF, XMP,
// IPTC and comments, each with the word SECRET; they are to be turned by 90°.
func photos(t testing.TB) map[string][]byte {
	t.Helper()
	paths, err := filepath.Glob("testdata/p*")
	if err != nil || len(paths) != 5 {
		t.Fatal(paths, err)
	}
	all := map[string][]byte{}
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		all[filepath.Base(path)] = data
	}
	return all
}

func stripped(t testing.TB, data []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := Strip(&out, bytes.NewReader(data)); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func decoded(t *testing.T, data []byte) image.Image {
	t.Helper()
	p, _, err := image.Decode(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestStrip(t *testing.T) {
	t.Parallel()
	for name, data := range photos(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if !bytes.Contains(data, []byte("SECRETSTREET")) || !bytes.Contains(data, []byte("SECRETPLACE")) {
				t.Fatal("the file has no secrets")
			}
			tail := append(bytes.Clone(data), "behind the end: SECRET"...)
			out := stripped(t, tail)
			for _, word := range []string{"SECRET", "GPS", "xmp", "XMP", "2024"} {
				if bytes.Contains(out, []byte(word)) {
					t.Errorf("%s is left in %q", word, out)
				}
			}
			if !reflect.DeepEqual(decoded(t, out), decoded(t, data)) {
				t.Error("the picture is another one")
			}
			if again := stripped(t, out); !bytes.Equal(again, out) {
				t.Error("not the same the second time")
			}
			kept := 1
			if name == "photo.gif" {
				kept = 0 // GIF has no EXIF, and nobody turns one
			}
			if got := bytes.Count(out, keepOnly(6)); got != kept {
				t.Errorf("%d orientations, want %d", got, kept)
			}
		})
	}
}

// What is cut anywhere comes out cut, without secrets; a reader that gives one
// byte at a time changes nothing.
func TestStripCut(t *testing.T) {
	t.Parallel()
	for name, data := range photos(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for n := 16; n < len(data); n += 13 {
				if out := stripped(t, data[:n]); bytes.Contains(out, []byte("SECRET")) {
					t.Fatalf("cut after %d bytes a secret is left", n)
				}
			}
			r := bytes.NewReader(data)
			var out bytes.Buffer
			err := Strip(&out, struct {
				io.Reader
				io.Seeker
			}{iotest.OneByteReader(r), r})
			if err != nil || !bytes.Equal(out.Bytes(), stripped(t, data)) {
				t.Errorf("byte by byte: %v, %d bytes", err, out.Len())
			}
		})
	}
}

func TestStripOthers(t *testing.T) {
	t.Parallel()
	plain := map[string][]byte{
		"jpeg": encoded(t, "jpeg", picture(40, 30, 255)), "png": encoded(t, "png", picture(40, 30, 9)),
		"gif": encoded(t, "gif", picture(40, 30, 255)), "bmp": []byte("BM and whatever follows"),
	}
	for name, data := range plain {
		if out := stripped(t, data); !bytes.Equal(out, data) {
			t.Errorf("%s without anything to remove is changed", name)
		}
	}
	for name, data := range map[string][]byte{"text": []byte("<html><body></body>"), "short": []byte("R"), "empty": nil} {
		if err := Strip(io.Discard, bytes.NewReader(data)); !errors.Is(err, ErrFormat) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// Rubbish between segments, impossible lengths, fill bytes: as decoders do.
	jpg := plain["jpeg"]
	odd := append([]byte("\xff\xd8 SECRET \xff\xff\xe1\x00\x01 SECRET \xff\xfe\x00\x09 SECRET\xff\xff"), jpg[3:]...)
	if out := stripped(t, odd); !bytes.Equal(out, jpg) {
		t.Errorf("an odd JPEG: %q", out)
	}
	lies := append([]byte("RIFF\xff\xff\xff\xffWEBPEXIF\xff\xff\xff\xff"), "SECRET"...)
	if out := stripped(t, lies); string(out) != "RIFF\x04\x00\x00\x00WEBP" {
		t.Errorf("a WebP of 4 GiB: %q", out)
	}
	broken := errors.New("broken")
	r := bytes.NewReader(jpg)
	err := Strip(io.Discard, struct {
		io.Reader
		io.Seeker
	}{io.MultiReader(io.LimitReader(r, 100), iotest.ErrReader(broken)), r})
	if !errors.Is(err, broken) {
		t.Errorf("a disk that fails: %v", err)
	}
}

func FuzzStrip(f *testing.F) {
	for _, data := range photos(f) {
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var out bytes.Buffer
		err := Strip(&out, bytes.NewReader(data))
		if err != nil && !errors.Is(err, ErrFormat) {
			t.Fatal(err)
		}
		if most := len(data) + 64; out.Len() > most {
			t.Errorf("%d bytes of %d", out.Len(), len(data))
		}
	})
}
