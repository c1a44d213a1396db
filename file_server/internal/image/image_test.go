package image

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"testing"
)

const limit = 24_000_000

// picture is red left and blue right, or transparent.
func picture(w, h int, alpha uint8) *image.NRGBA {
	p := image.NewNRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			c := color.NRGBA{R: 255, A: alpha}
			if x >= w/2 {
				c = color.NRGBA{B: 255, A: alpha}
			}
			p.SetNRGBA(x, y, c)
		}
	}
	return p
}

func encoded(t testing.TB, format string, p image.Image) []byte {
	t.Helper()
	var b bytes.Buffer
	var err error
	switch format {
	case "jpeg":
		err = jpeg.Encode(&b, p, nil)
	case "png":
		err = png.Encode(&b, p)
	case "gif":
		err = gif.Encode(&b, p, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// withOrientation puts EXIF data into a JPEG.
func withOrientation(jpg []byte, order binary.AppendByteOrder, mark string, turned uint16) []byte {
	tiff := append([]byte(mark), 0, 0, 0, 0)
	tiff = order.AppendUint32(tiff[:4], 8)
	tiff = order.AppendUint16(tiff, 1)
	tiff = order.AppendUint16(tiff, 0x0112)
	tiff = order.AppendUint16(tiff, 3)
	tiff = order.AppendUint32(tiff, 1)
	tiff = order.AppendUint16(tiff, turned)
	tiff = append(tiff, 0, 0)
	segment := append([]byte("Exif\x00\x00"), tiff...)
	out := append([]byte{}, jpg[:2]...)
	out = append(out, 0xff, 0xe1)
	out = binary.BigEndian.AppendUint16(out, uint16(len(segment)+2))
	out = append(out, segment...)
	return append(out, jpg[2:]...)
}

func TestShrink(t *testing.T) {
	t.Parallel()
	s := NewShrinker(limit, 64<<20)
	for name, c := range map[string]struct {
		data  []byte
		media string
		w, h  int
	}{
		"jpeg wide":        {encoded(t, "jpeg", picture(400, 100, 255)), "image/jpeg", 100, 25},
		"jpeg high":        {encoded(t, "jpeg", picture(100, 400, 255)), "image/jpeg", 25, 100},
		"png":              {encoded(t, "png", picture(300, 300, 255)), "image/jpeg", 100, 100},
		"transparent":      {encoded(t, "png", picture(300, 300, 100)), "image/png", 100, 100},
		"gif":              {encoded(t, "gif", picture(200, 300, 255)), "image/jpeg", 66, 100},
		"a line":           {encoded(t, "png", picture(4000, 1, 255)), "image/jpeg", 100, 1},
		"lying, Intel":     {withOrientation(encoded(t, "jpeg", picture(400, 100, 255)), binary.LittleEndian, "II*\x00", 6), "image/jpeg", 25, 100},
		"lying, Motorola":  {withOrientation(encoded(t, "jpeg", picture(400, 100, 255)), binary.BigEndian, "MM\x00*", 8), "image/jpeg", 25, 100},
		"turned around":    {withOrientation(encoded(t, "jpeg", picture(400, 100, 255)), binary.BigEndian, "MM\x00*", 3), "image/jpeg", 100, 25},
		"turned to nobody": {withOrientation(encoded(t, "jpeg", picture(400, 100, 255)), binary.BigEndian, "MM\x00*", 9), "image/jpeg", 100, 25},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var out bytes.Buffer
			media, err := s.Shrink(t.Context(), &out, bytes.NewReader(c.data), Size{100, 100})
			if err != nil || media != c.media {
				t.Fatalf("%q, %v, want %q", media, err, c.media)
			}
			got, _, err := image.Decode(&out)
			if err != nil {
				t.Fatal(err)
			}
			if b := got.Bounds(); b.Dx() != c.w || b.Dy() != c.h {
				t.Errorf("%v, want %d x %d", b, c.w, c.h)
			}
		})
	}
}

// What was red and left is where the orientation says.
func TestUpright(t *testing.T) {
	t.Parallel()
	for turned, red := range map[int]image.Point{
		1: {0, 5}, 2: {9, 5}, 3: {9, 5}, 4: {0, 5}, 5: {5, 0}, 6: {5, 0}, 7: {5, 9}, 8: {5, 9},
	} {
		if got := upright(picture(10, 10, 255), turned).NRGBAAt(red.X, red.Y); got.R != 255 {
			t.Errorf("orientation %d: %v at %v, want red", turned, got, red)
		}
	}
}

// bomb is a PNG that says to be w × h and holds next to nothing.
func bomb(w, h uint32) []byte {
	out := []byte("\x89PNG\r\n\x1a\n")
	head := binary.BigEndian.AppendUint32(nil, w)
	head = binary.BigEndian.AppendUint32(head, h)
	head = append(append([]byte("IHDR"), head...), 8, 6, 0, 0, 0)
	out = binary.BigEndian.AppendUint32(out, uint32(len(head)-4))
	out = append(out, head...)
	return binary.BigEndian.AppendUint32(out, crc32.ChecksumIEEE(head))
}

func TestRefused(t *testing.T) {
	t.Parallel()
	whole := encoded(t, "png", picture(300, 300, 255))
	for name, c := range map[string]struct {
		data []byte
		want error
	}{
		"bomb":         {bomb(60_000, 60_000), ErrPixels},
		"largest bomb": {bomb(1<<31-1, 1<<31-1), ErrFormat},
		"just over":    {bomb(limit+1, 1), ErrPixels},
		"empty size":   {bomb(0, 10), ErrFormat},
		"text":         {[]byte("<html>"), ErrFormat},
		"nothing":      {nil, ErrFormat},
		"half":         {whole[:len(whole)/2], ErrFormat},
		"small":        {encoded(t, "png", picture(100, 50, 255)), ErrSmall},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := NewShrinker(limit, 64<<20).Shrink(t.Context(), new(bytes.Buffer), bytes.NewReader(c.data), Size{100, 100})
			if !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
	ended, end := context.WithCancel(t.Context())
	end()
	s := NewShrinker(limit, 64<<20)
	s.turn <- struct{}{}
	if _, err := s.Shrink(ended, new(bytes.Buffer), bytes.NewReader(whole), Size{10, 10}); !errors.Is(err, context.Canceled) {
		t.Errorf("who waits for nobody: %v", err)
	}
}

func TestParseSize(t *testing.T) {
	t.Parallel()
	if s, err := ParseSize("100x200"); err != nil || s != (Size{100, 200}) || s.String() != "100x200" {
		t.Errorf("%v %v", s, err)
	}
	for _, bad := range []string{"", "x", "0x1", "1x", "10000x1", "1x1x1", "-1x1", " 1x1"} {
		if _, err := ParseSize(bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

func FuzzOrientation(f *testing.F) {
	f.Add(withOrientation(encoded(f, "jpeg", picture(8, 8, 255)), binary.LittleEndian, "II*\x00", 6))
	f.Fuzz(func(t *testing.T, data []byte) {
		if got := orientation(bytes.NewReader(data)); got < 1 || got > 8 {
			t.Errorf("orientation %d", got)
		}
	})
}
