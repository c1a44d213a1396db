// Package image looks at uploaded images and makes smaller ones of them. It
// decodes one image at a time and none with more pixels than it is told, since
// a file of some kilobytes can hold gigabytes of them.
package image

import (
	"context"
	"errors"
	"fmt"
	"image"
	_ "image/gif" // the formats of the original's clients
	"image/jpeg"
	"image/png"
	"io"
	"regexp"
	"strconv"

	_ "golang.org/x/image/bmp" // Windows sends screenshots
	"golang.org/x/image/draw"
	_ "golang.org/x/image/webp" // new phones
)

// The errors that callers tell apart.
var (
	ErrFormat = errors.New("image: no format that is known")
	ErrPixels = errors.New("image: too many pixels")
	ErrSmall  = errors.New("image: fits already")
)

// Size is a box that an image is made to fit into, in pixels.
type Size struct{ Width, Height int }

// String is the reverse of ParseSize.
func (s Size) String() string { return strconv.Itoa(s.Width) + "x" + strconv.Itoa(s.Height) }

var sizeText = regexp.MustCompile(`^([1-9]\d{0,3})x([1-9]\d{0,3})$`)

// ParseSize reads WIDTHxHEIGHT, each from 1 to 9999.
func ParseSize(text string) (Size, error) {
	m := sizeText.FindStringSubmatch(text)
	if m == nil {
		return Size{}, fmt.Errorf("%q is not WIDTHxHEIGHT", text)
	}
	width, _ := strconv.Atoi(m[1])  // some digits
	height, _ := strconv.Atoi(m[2]) // likewise
	return Size{width, height}, nil
}

// Info is what the first bytes of an image say.
type Info struct {
	Type          string // media type, such as "image/jpeg"
	Width, Height int
}

// Inspect reads the head of an image without decoding it. ErrFormat: it is
// none; ErrPixels: it has more than limit pixels.
func Inspect(r io.Reader, limit int) (Info, error) {
	c, format, err := image.DecodeConfig(r)
	if err != nil {
		return Info{}, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	info := Info{Type: "image/" + format, Width: c.Width, Height: c.Height}
	if c.Width <= 0 || c.Height <= 0 {
		return Info{}, ErrFormat
	}
	if int64(c.Width)*int64(c.Height) > int64(limit) {
		return info, ErrPixels
	}
	return info, nil
}

// Shrinker makes images smaller, one at a time.
type Shrinker struct {
	limit int
	turn  chan struct{}
}

// NewShrinker returns a Shrinker for images of up to limit pixels.
func NewShrinker(limit int) *Shrinker { return &Shrinker{limit: limit, turn: make(chan struct{}, 1)} }

// jpegQuality is that of images made smaller, of 100.
const jpegQuality = 85

// Shrink writes the image of r, made to fit into the box, upright, and returns
// its media type: PNG where it is transparent, else JPEG. ErrSmall: it fits as
// it is. It waits for its turn until ctx ends.
func (s *Shrinker) Shrink(ctx context.Context, w io.Writer, r io.ReadSeeker, box Size) (mediaType string, err error) {
	info, err := Inspect(r, s.limit)
	if err != nil {
		return "", err
	}
	if info.Width <= box.Width && info.Height <= box.Height {
		return "", ErrSmall
	}
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return "", ctx.Err()
	}
	turned := 1
	if info.Type == "image/jpeg" {
		if _, err := r.Seek(0, io.SeekStart); err != nil {
			return "", err
		}
		turned = orientation(r)
	}
	if _, err := r.Seek(0, io.SeekStart); err != nil {
		return "", err
	}
	big, _, err := image.Decode(r)
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrFormat, err)
	}
	small := fit(big, box, turned)
	if small.Opaque() {
		return "image/jpeg", jpeg.Encode(w, small, &jpeg.Options{Quality: jpegQuality})
	}
	return "image/png", png.Encode(w, small)
}

// fit scales an image into the box, with its proportions, and turns it
// upright.
func fit(big image.Image, box Size, turned int) *image.NRGBA {
	if turned >= 5 { // it lies on its side
		box = Size{box.Height, box.Width}
	}
	b := big.Bounds()
	width, height := box.Width, max(1, b.Dy()*box.Width/b.Dx())
	if height > box.Height {
		width, height = max(1, b.Dx()*box.Height/b.Dy()), box.Height
	}
	small := image.NewNRGBA(image.Rect(0, 0, width, height))
	draw.CatmullRom.Scale(small, small.Bounds(), big, b, draw.Src, nil)
	return upright(small, turned)
}

// upright undoes an EXIF orientation, 1 to 8.
func upright(in *image.NRGBA, turned int) *image.NRGBA {
	if turned <= 1 || turned > 8 {
		return in
	}
	w, h := in.Bounds().Dx(), in.Bounds().Dy()
	out := image.NewNRGBA(image.Rect(0, 0, w, h))
	if turned >= 5 {
		out = image.NewNRGBA(image.Rect(0, 0, h, w))
	}
	for y := range h {
		for x := range w {
			var toX, toY int
			switch turned {
			case 2:
				toX, toY = w-1-x, y
			case 3:
				toX, toY = w-1-x, h-1-y
			case 4:
				toX, toY = x, h-1-y
			case 5:
				toX, toY = y, x
			case 6:
				toX, toY = h-1-y, x
			case 7:
				toX, toY = h-1-y, w-1-x
			case 8:
				toX, toY = y, w-1-x
			}
			out.SetNRGBA(toX, toY, in.NRGBAAt(x, y))
		}
	}
	return out
}
