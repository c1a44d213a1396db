package image

import (
	"bytes"
	"errors"
	"image"
	"image/color"
	"io"
	"testing"
)

// Each image is decoded with just enough memory, and with no byte less it is
// not.
func TestMemory(t *testing.T) {
	t.Parallel()
	files := photos(t)
	gray := image.NewGray(image.Rect(0, 0, 64, 48))
	deep := image.NewNRGBA64(gray.Rect)
	deep.Set(1, 1, color.NRGBA{A: 9}) // it is transparent
	few := image.NewPaletted(gray.Rect, color.Palette{color.White, color.Transparent})
	const pixels = 64 * 48
	for name, c := range map[string]struct {
		data []byte
		need int64
	}{
		"jpeg, colours at a quarter":             {files["photo.jpg"], pixels * 3 / 2},
		"jpeg, progressive":                      {files["progressive.jpg"], pixels * 3 / 2 * 5},
		"jpeg, gray":                             {encoded(t, "jpeg", gray), pixels},
		"jpeg, blocks beyond the edge":           {encoded(t, "jpeg", image.NewGray(image.Rect(0, 0, 57, 41))), pixels},
		"png":                                    {encoded(t, "png", picture(64, 48, 255)), pixels * 4},
		"png, gray":                              {encoded(t, "png", gray), pixels},
		"png, palette":                           {encoded(t, "png", few), pixels},
		"png, 16 bits":                           {files["photo.png"], pixels * 8},
		"png, 16 bits and transparent":           {encoded(t, "png", deep), pixels * 8},
		"gif":                                    {files["photo.gif"], pixels * 2},
		"webp, its head says nothing of the way": {files["photo.webp"], pixels * 7},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, less := range []int64{0, 1} {
				_, err := NewShrinker(limit, c.need-less).Shrink(t.Context(), io.Discard, bytes.NewReader(c.data), Size{10, 10})
				if errors.Is(err, ErrMemory) != (less == 1) || less == 0 && err != nil {
					t.Errorf("with %d bytes: %v", c.need-less, err)
				}
			}
		})
	}
}

// A small file can have its image drawn over and over.
func TestManyScans(t *testing.T) {
	t.Parallel()
	data := photos(t)["progressive.jpg"]
	begin := bytes.LastIndex(data, []byte{0xff, jpegSOS})
	end := len(data) - 2
	many := append(bytes.Clone(data[:end]), bytes.Repeat(data[begin:end], maxScans)...)
	many = append(many, 0xff, jpegEOI)
	_, err := NewShrinker(limit, 1<<20).Shrink(t.Context(), io.Discard, bytes.NewReader(many), Size{10, 10})
	if !errors.Is(err, ErrMemory) {
		t.Errorf("%d scans more: %v", maxScans, err)
	}
}

// Whatever is made smaller in two steps looks as it would in one.
func TestReduce(t *testing.T) {
	t.Parallel()
	p := picture(1000, 10, 128) // half transparent
	small := reduce(p, 7, 2)
	if b := small.Bounds(); b.Dx() != 142 || b.Dy() != 5 {
		t.Fatalf("%v", b)
	}
	for _, c := range []struct {
		at   image.Point
		want color.NRGBA
	}{{image.Pt(0, 0), color.NRGBA{255, 0, 0, 128}}, {image.Pt(141, 4), color.NRGBA{0, 0, 255, 128}}} {
		if got := color.NRGBAModel.Convert(small.At(c.at.X, c.at.Y)); got != c.want {
			t.Errorf("%v at %v, want %v", got, c.at, c.want)
		}
	}
	// Long and thin, at once far too long and too thin already.
	var out bytes.Buffer
	line := encoded(t, "png", image.NewGray(image.Rect(0, 0, 1, 20_000)))
	if _, err := NewShrinker(limit, 1<<20).Shrink(t.Context(), &out, bytes.NewReader(line), Size{100, 100}); err != nil {
		t.Error(err)
	}
}

func FuzzShrink(f *testing.F) {
	for _, data := range photos(f) {
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		_, _ = NewShrinker(100_000, 1<<20).Shrink(t.Context(), io.Discard, bytes.NewReader(data), Size{10, 10})
	})
}
