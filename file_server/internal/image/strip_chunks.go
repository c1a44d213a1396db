package image

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"io"
)

const pngMagic = "\x89PNG\r\n\x1a\n"

// drawsPNG are the chunks of PNG and APNG that draw the picture. Source: PNG,
// third edition, 11.
var drawsPNG = map[string]bool{ //nolint:gochecknoglobals // a table
	"IHDR": true, "PLTE": true, "IDAT": true, "IEND": true, "tRNS": true, "cHRM": true, "gAMA": true, "iCCP": true,
	"sBIT": true, "sRGB": true, "cICP": true, "mDCV": true, "cLLI": true, "bKGD": true, "hIST": true, "pHYs": true,
	"sPLT": true, "acTL": true, "fcTL": true, "fdAT": true,
}

// maxEXIF is how much of EXIF data is looked at for the orientation, which
// stands at its beginning.
const maxEXIF = 64 << 10

func stripPNG(w *bufio.Writer, r *bufio.Reader) error {
	if _, err := io.CopyN(w, r, int64(len(pngMagic))); err != nil {
		return err
	}
	for {
		var head [8]byte
		if _, err := io.ReadFull(r, head[:]); err != nil {
			return err
		}
		if err := stripChunkPNG(w, r, head); err != nil {
			return err
		}
		if string(head[4:]) == "IEND" {
			return nil
		}
	}
}

// stripChunkPNG copies the rest of a chunk, if it draws something.
func stripChunkPNG(w *bufio.Writer, r *bufio.Reader, head [8]byte) error {
	size, kind := int64(binary.BigEndian.Uint32(head[:])), string(head[4:])
	const sum = 4
	if drawsPNG[kind] {
		if _, err := w.Write(head[:]); err != nil {
			return err
		}
		_, err := io.CopyN(w, r, size+sum)
		return err
	}
	turned := 1
	if kind == "eXIf" {
		var err error
		if turned, err = exifTurned(io.LimitReader(r, size)); err != nil {
			return err
		}
		size = 0
	}
	if _, err := io.CopyN(io.Discard, r, size+sum); err != nil || turned == 1 {
		return err
	}
	return writeChunkPNG(w, kind, keepOnly(turned))
}

// exifTurned reads all of r and returns the orientation it tells of.
func exifTurned(r io.Reader) (int, error) {
	var start [maxEXIF]byte
	n, err := io.ReadFull(r, start[:])
	if err != nil && !cutOff(err) {
		return 0, err
	}
	if _, err := io.Copy(io.Discard, r); err != nil {
		return 0, err
	}
	return tiffOrientation(bytes.TrimPrefix(start[:n], []byte(exifMark))), nil
}

func writeChunkPNG(w *bufio.Writer, kind string, data []byte) error {
	chunk := binary.BigEndian.AppendUint32(nil, uint32(len(data)))
	chunk = append(append(chunk, kind...), data...)
	_, err := w.Write(binary.BigEndian.AppendUint32(chunk, crc32.ChecksumIEEE(chunk[4:])))
	return err
}

// drawsWebP are the chunks of WebP that draw the picture. Source: RFC 9649.
var drawsWebP = map[string]bool{ //nolint:gochecknoglobals // a table
	"VP8 ": true, "VP8L": true, "VP8X": true, "ALPH": true, "ANIM": true, "ANMF": true, "ICCP": true,
}

// Flags of the first byte of VP8X.
const webpEXIF, webpXMP = 0x08, 0x04

// stripWebP goes twice over the image: its head says how long the rest is and
// whether an orientation follows.
func stripWebP(w *bufio.Writer, r io.ReadSeeker) error {
	kept, turned := int64(len("WEBP")), 1
	count := func(id string, _ int64, body io.Reader) error {
		switch {
		case drawsWebP[id]:
			n, err := io.Copy(io.Discard, body)
			kept += chunkHead + n
			return err
		case id == "EXIF" && turned == 1:
			var err error
			turned, err = exifTurned(body)
			return err
		}
		return nil
	}
	if err := walkWebP(r, count); err != nil {
		return err
	}
	var end []byte
	if turned != 1 {
		tiff := keepOnly(turned)
		end = append(binary.LittleEndian.AppendUint32([]byte("EXIF"), uint32(len(tiff))), tiff...)
	}
	head := binary.LittleEndian.AppendUint32([]byte("RIFF"), uint32(kept)+uint32(len(end)))
	if _, err := w.Write(append(head, "WEBP"...)); err != nil {
		return err
	}
	err := walkWebP(r, func(id string, size int64, body io.Reader) error {
		if !drawsWebP[id] {
			return nil
		}
		if _, err := w.Write(binary.LittleEndian.AppendUint32([]byte(id), uint32(size))); err != nil {
			return err
		}
		if id == "VP8X" {
			body = &firstByte{Reader: body, change: func(flags byte) byte {
				if flags &^= webpEXIF | webpXMP; turned != 1 {
					flags |= webpEXIF
				}
				return flags
			}}
		}
		_, err := io.Copy(w, body)
		return err
	})
	if err != nil {
		return err
	}
	_, err = w.Write(end)
	return err
}

// chunkHead is the length of the head of a RIFF chunk.
const chunkHead = 8

// walkWebP calls f for every chunk: its size as it says, and its bytes with
// the one that makes them even, or as many of them as there are.
func walkWebP(r io.ReadSeeker, f func(id string, size int64, body io.Reader) error) error {
	if _, err := r.Seek(0, io.SeekStart); err != nil {
		return err
	}
	b := bufio.NewReaderSize(r, stripBuffer)
	var head [12]byte
	if _, err := io.ReadFull(b, head[:]); err != nil {
		return err
	}
	rest := &io.LimitedReader{R: b, N: int64(binary.LittleEndian.Uint32(head[4:])) - int64(len("WEBP"))}
	for {
		var head [chunkHead]byte
		if _, err := io.ReadFull(rest, head[:]); err != nil {
			if cutOff(err) {
				return nil
			}
			return err
		}
		size := int64(binary.LittleEndian.Uint32(head[4:]))
		body := io.LimitReader(rest, size+size%2)
		if err := f(string(head[:4]), size, body); err != nil {
			return err
		}
		if _, err := io.Copy(io.Discard, body); err != nil {
			return err
		}
	}
}

// firstByte changes the first byte of what it reads.
type firstByte struct {
	io.Reader
	change func(byte) byte
}

func (f *firstByte) Read(p []byte) (int, error) {
	n, err := f.Reader.Read(p)
	if n > 0 && f.change != nil {
		p[0], f.change = f.change(p[0]), nil
	}
	return n, err
}

// Blocks of GIF. Source: GIF89a, 17 to 27.
const (
	gifExtension, gifImage, gifTrailer       = 0x21, 0x2c, 0x3b
	gifPlainText, gifControl, gifApplication = 0x01, 0xf9, 0xff
	gifHeadSize, gifImageSize                = 13, 9
	gifTableFlag, gifTableBits               = 0x80, 0x07
)

// drawsGIF are the applications whose blocks draw the picture: how often it
// runs, and its colours.
var drawsGIF = map[string]bool{ //nolint:gochecknoglobals // a table
	"NETSCAPE2.0": true, "ANIMEXTS1.0": true, "ICCRGBG1012": true,
}

func stripGIF(w *bufio.Writer, r *bufio.Reader) error {
	var head [gifHeadSize]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return err
	}
	if _, err := w.Write(head[:]); err != nil {
		return err
	}
	if err := copyTable(w, r, head[10]); err != nil {
		return err
	}
	for {
		kind, err := r.ReadByte()
		if err != nil {
			return err
		}
		switch kind {
		case gifTrailer:
			return w.WriteByte(gifTrailer)
		case gifImage:
			err = copyImageGIF(w, r)
		case gifExtension:
			err = stripExtension(w, r)
		default:
			// What follows cannot be told apart; decoders end here, too.
			return io.ErrUnexpectedEOF
		}
		if err != nil {
			return err
		}
	}
}

// copyTable copies a table of colours, if the flags say that there is one.
func copyTable(w *bufio.Writer, r *bufio.Reader, flags byte) error {
	if flags&gifTableFlag == 0 {
		return nil
	}
	_, err := io.CopyN(w, r, 3<<(flags&gifTableBits+1))
	return err
}

func copyImageGIF(w *bufio.Writer, r *bufio.Reader) error {
	head := [1 + gifImageSize]byte{gifImage}
	if _, err := io.ReadFull(r, head[1:]); err != nil {
		return err
	}
	if _, err := w.Write(head[:]); err != nil {
		return err
	}
	if err := copyTable(w, r, head[gifImageSize]); err != nil {
		return err
	}
	if _, err := io.CopyN(w, r, 1); err != nil { // the width of codes
		return err
	}
	return copyBlocks(w, r)
}

// stripExtension copies an extension that draws something.
func stripExtension(w *bufio.Writer, r *bufio.Reader) error {
	label, err := r.ReadByte()
	if err != nil {
		return err
	}
	draws := label == gifControl || label == gifPlainText
	if label == gifApplication {
		name, err := r.Peek(1 + len("NETSCAPE2.0"))
		if err != nil {
			return err
		}
		draws = drawsGIF[string(name[1:])]
	}
	if !draws {
		return copyBlocks(io.Discard, r)
	}
	if _, err := w.Write([]byte{gifExtension, label}); err != nil {
		return err
	}
	return copyBlocks(w, r)
}

// copyBlocks copies blocks of up to 255 bytes, up to the empty one.
func copyBlocks(w io.Writer, r *bufio.Reader) error {
	for {
		size, err := r.ReadByte()
		if err != nil {
			return err
		}
		if _, err := w.Write([]byte{size}); err != nil || size == 0 {
			return err
		}
		if _, err := io.CopyN(w, r, int64(size)); err != nil {
			return err
		}
	}
}
