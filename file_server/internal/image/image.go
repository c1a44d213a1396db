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
	"runtime/debug"
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
	pixels int
	memory int64
	turn   chan struct{}
}

// NewShrinker returns a Shrinker for images of up to so many pixels that take
// up to so many bytes of memory to decode.
func NewShrinker(pixels int, memory int64) *Shrinker {
	return &Shrinker{pixels: pixels, memory: memory, turn: make(chan struct{}, 1)}
}

// jpegQuality is that of images made smaller, of 100.
const jpegQuality = 85

// worthFreeing is how many bytes are worth the time to give them back.
const worthFreeing = 4 << 20

// Shrink writes the image of r, made to fit into the box, upright, and returns
// its media type: PNG where it is transparent, else JPEG. ErrSmall: it fits as
// it is; ErrMemory: it would take too much. It waits for its turn until ctx ends.
func (s *Shrinker) Shrink(ctx context.Context, w io.Writer, r io.ReadSeeker, box Size) (mediaType string, err error) {
	info, err := Inspect(r, s.pixels)
	if err != nil {
		return "", err
	}
	if info.Width <= box.Width && info.Height <= box.Height {
		return "", ErrSmall
	}
	need, err := memory(r, info, s.memory)
	if err != nil {
		return "", err
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
	small := fit(big, box, turned, need > worthFreeing)
	if small.Opaque() {
		return "image/jpeg", jpeg.Encode(w, small, &jpeg.Options{Quality: jpegQuality})
	}
	return "image/png", png.Encode(w, small)
}

// fit scales an image into the box, with its proportions, and turns it
// upright. Of a large one, which nobody else has, the memory is given back
// before the scaler takes some, and what that took.
func fit(big image.Image, box Size, turned int, large bool) *image.NRGBA {
	if turned >= 5 { // it lies on its side
		box = Size{box.Height, box.Width}
	}
	b := big.Bounds()
	width, height := box.Width, max(1, b.Dy()*box.Width/b.Dx())
	if height > box.Height {
		width, height = max(1, b.Dx()*box.Height/b.Dy()), box.Height
	}
	big = reduce(big, max(1, b.Dx()/(2*width)), max(1, b.Dy()/(2*height)))
	if large {
		debug.FreeOSMemory()
		defer debug.FreeOSMemory()
	}
	small := image.NewNRGBA(image.Rect(0, 0, width, height))
	draw.CatmullRom.Scale(small, small.Bounds(), big, big.Bounds(), draw.Src, nil)
	return upright(small, turned)
}

// reduce makes one pixel, their mean, of every nx times ny ones. The scaler
// that comes next takes 32 bytes for each line and column it has to look at.
func reduce(big image.Image, nx, ny int) image.Image {
	if nx == 1 && ny == 1 {
		return big
	}
	from := big.Bounds()
	small := image.NewRGBA(image.Rect(0, 0, from.Dx()/nx, from.Dy()/ny))
	width := small.Bounds().Dx() * nx // what is left over at the right is cut off
	line := image.NewRGBA(image.Rect(0, 0, width, 1))
	sums := make([]uint64, 4*small.Bounds().Dx())
	for y := range small.Bounds().Dy() {
		clear(sums)
		for i := range ny {
			draw.Draw(line, line.Bounds(), big, image.Pt(from.Min.X, from.Min.Y+y*ny+i), draw.Src)
			for x := range width {
				sum, pixel := sums[x/nx*4:][:4], line.Pix[4*x:][:4]
				for c, v := range pixel {
					sum[c] += uint64(v)
				}
			}
		}
		out := small.Pix[y*small.Stride:]
		for i, sum := range sums {
			out[i] = uint8((sum + uint64(nx*ny)/2) / uint64(nx*ny))
		}
	}
	return small
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
