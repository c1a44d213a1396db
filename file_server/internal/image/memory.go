package image

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// ErrMemory says that decoding an image would take more than is allowed.
var ErrMemory = errors.New("image: too much memory or work to decode")

// Bytes for each pixel that the decoders make of formats whose heads do not
// tell more: the image itself, and what they need meanwhile.
const (
	bytesGIF   = 2 // a palette, and the same once more to undo the interlacing
	bytesBMP   = 4
	bytesVP8   = 2 // luma and two quarters, rounded up
	bytesOther = 7 // WebP without loss, or with an alpha channel that is
)

// memory returns how many bytes it takes to decode an image; ErrMemory: more
// than limit. It reads heads only, and of a JPEG how many scans there are.
func memory(r io.ReadSeeker, info Info, limit int64) (need int64, err error) {
	if _, err := r.Seek(0, io.SeekStart); err != nil {
		return 0, err
	}
	b := bufio.NewReader(r)
	pixels := int64(info.Width) * int64(info.Height)
	switch info.Type {
	case "image/jpeg":
		return memoryJPEG(b, pixels, limit)
	case "image/png":
		need, err = bytesPNG(b, pixels)
	case "image/gif":
		need = bytesGIF * pixels
	case "image/bmp":
		need = bytesBMP * pixels
	default:
		need = bytesOther * pixels
		if head, err := b.Peek(16); err == nil && bytes.HasSuffix(head, []byte("VP8 ")) {
			need = bytesVP8 * pixels
		}
	}
	if err == nil && need > limit {
		err = fmt.Errorf("%w: %d bytes", ErrMemory, need)
	}
	return need, err
}

// bytesPNG reads the head of a PNG, up to its pixels.
func bytesPNG(r *bufio.Reader, pixels int64) (int64, error) {
	var ihdr [len(pngMagic) + 8 + 13 + 4]byte
	if _, err := io.ReadFull(r, ihdr[:]); err != nil {
		return 0, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	depth, colours, interlaced := ihdr[24], ihdr[25], ihdr[28] != 0
	transparent := false
	for {
		var head [8]byte
		if _, err := io.ReadFull(r, head[:]); err != nil {
			return 0, fmt.Errorf("%w: %w", ErrFormat, err)
		}
		kind := string(head[4:])
		if kind == "IDAT" {
			break
		}
		transparent = transparent || kind == "tRNS"
		if _, err := io.CopyN(io.Discard, r, int64(binary.BigEndian.Uint32(head[:]))+4); err != nil {
			return 0, fmt.Errorf("%w: %w", ErrFormat, err)
		}
	}
	const gray, palette = 0, 3
	need := 4 * pixels
	if colours == palette || colours == gray && !transparent {
		need = pixels
	}
	if depth == 16 {
		need *= 2
	}
	if interlaced {
		need *= 2 // the passes, beside what they become
	}
	return need, nil
}

// maxScans is the most scans that are decoded: encoders make about ten, and
// each one goes over the whole image.
const maxScans = 100

// memoryJPEG looks at the frame of a JPEG. A progressive one is kept as
// coefficients of four bytes until it is whole, beside its samples.
func memoryJPEG(r *bufio.Reader, pixels, limit int64) (need int64, err error) {
	scans, adobe := 0, false
	err = walkJPEG(r, io.Discard, func(marker byte, segment []byte) (err error) {
		switch marker {
		case jpegAPP14:
			adobe = adobe || isAdobeRGB(segment)
		case jpegSOF0, jpegSOF1, jpegSOF2:
			if need, err = bytesFrame(segment, marker == jpegSOF2); err != nil {
				return err
			}
			if turnedRGB(segment, adobe) {
				need += 4 * pixels // what the samples are turned into
			}
			if need > limit {
				return fmt.Errorf("%w: %d bytes", ErrMemory, need)
			}
		case jpegSOS:
			if scans++; scans > maxScans {
				return fmt.Errorf("%w: more than %d scans", ErrMemory, maxScans)
			}
		}
		return nil
	})
	switch {
	case err != nil && !cutOff(err):
		return 0, err
	case need == 0:
		return 0, ErrFormat
	}
	return need, nil
}

// bytesFrame reads a frame header and returns what its samples take.
func bytesFrame(segment []byte, progressive bool) (need int64, err error) {
	const fixed, each = 6, 3
	if len(segment) < fixed || len(segment) < fixed+each*int(segment[5]) {
		return 0, ErrFormat
	}
	height, width := int64(binary.BigEndian.Uint16(segment[1:])), int64(binary.BigEndian.Uint16(segment[3:]))
	var widest, highest, blocks int64 = 1, 1, 0
	for i := range int(segment[5]) {
		h, v := int64(segment[fixed+each*i+1]>>4), int64(segment[fixed+each*i+1]&0xf)
		widest, highest, blocks = max(widest, h), max(highest, v), blocks+h*v
	}
	if segment[5] == 1 {
		widest, highest, blocks = 1, 1, 1 // whatever it says
	}
	const side = 8 // of a block, in samples
	units := ((width + side*widest - 1) / (side * widest)) * ((height + side*highest - 1) / (side * highest))
	need = units * blocks * side * side
	if progressive {
		need += 4 * need
	}
	return need, nil
}

// isAdobeRGB reports whether an APP14 segment says that colours are as they
// are shown.
func isAdobeRGB(segment []byte) bool {
	return bytes.HasPrefix(segment, []byte("Adobe")) && len(segment) >= 12 && segment[11] == 0
}

// turnedRGB reports whether the decoder makes another image of the samples of
// a frame: of four colours, and of three that are called, or said to be, RGB.
func turnedRGB(frame []byte, adobe bool) bool {
	switch frame[5] {
	case 3:
		return adobe || frame[6] == 'R' && frame[9] == 'G' && frame[12] == 'B'
	case 4:
		return true
	}
	return false
}
