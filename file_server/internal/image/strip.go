package image

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
)

// Strip copies an image without what it says of the place, the time, the
// camera and the people: EXIF, XMP, IPTC, comments, previews, and all that
// follows its end. Its pixels and colours are copied bit by bit, and how it is
// to be turned is kept. Of every format, only the parts that are known to draw
// the picture are copied; a damaged image comes out as damaged as it was.
//
// JPEG, PNG, WebP and GIF are stripped; BMP holds nothing of this and is
// copied. ErrFormat: it is none of them. Memory is bounded, whatever the image
// says of its lengths.
func Strip(w io.Writer, r io.ReadSeeker) error {
	if _, err := r.Seek(0, io.SeekStart); err != nil {
		return err
	}
	b := bufio.NewReaderSize(r, stripBuffer)
	head, err := b.Peek(len("RIFF....WEBP"))
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	out := bufio.NewWriterSize(w, stripBuffer)
	switch {
	case bytes.HasPrefix(head, []byte("\xff\xd8")):
		err = stripJPEG(out, b)
	case bytes.HasPrefix(head, []byte(pngMagic)):
		err = stripPNG(out, b)
	case bytes.HasPrefix(head, []byte("GIF8")):
		err = stripGIF(out, b)
	case bytes.HasPrefix(head, []byte("RIFF")) && bytes.HasSuffix(head, []byte("WEBP")):
		err = stripWebP(out, r)
	case bytes.HasPrefix(head, []byte("BM")):
		_, err = io.Copy(out, b)
	default:
		return ErrFormat
	}
	if err != nil && !cutOff(err) {
		return fmt.Errorf("strip image: %w", err)
	}
	return out.Flush()
}

const stripBuffer = 64 << 10

// cutOff reports whether an image just ends too early.
func cutOff(err error) bool { return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) }

// keepOnly is TIFF data with nothing but an orientation, as EXIF has it.
func keepOnly(turned int) []byte {
	tiff := append([]byte("MM\x00*"), 0, 0, 0, 8) // the directory follows
	tiff = append(tiff, 0, 1)                     // with one entry:
	tiff = binary.BigEndian.AppendUint16(tiff, tagOrientation)
	tiff = binary.BigEndian.AppendUint16(tiff, 3) // a 16-bit number,
	tiff = binary.BigEndian.AppendUint32(tiff, 1) // one of it,
	tiff = binary.BigEndian.AppendUint16(tiff, uint16(turned))
	return append(tiff, 0, 0, 0, 0, 0, 0) // to four bytes; no directory follows
}

// Markers of JPEG segments. Source: ITU-T T.81, table B.1.
const (
	jpegSOF0, jpegSOF1  = 0xc0, 0xc1
	jpegSOF2            = 0xc2 // progressive
	jpegRST0, jpegRST7  = 0xd0, 0xd7
	jpegSOI, jpegEOI    = 0xd8, 0xd9
	jpegSOS, jpegEXP    = 0xda, 0xdf
	jpegAPP0, jpegAPP1  = 0xe0, 0xe1
	jpegAPP2, jpegAPP14 = 0xe2, 0xee
)

const exifMark = "Exif\x00\x00"

// stripJPEG copies the segments that draw the picture, and its scans.
func stripJPEG(w *bufio.Writer, r *bufio.Reader) error {
	if _, err := w.Write([]byte{0xff, jpegSOI}); err != nil {
		return err
	}
	if _, err := r.Discard(2); err != nil {
		return err
	}
	seen := false // EXIF data; only the first counts
	err := walkJPEG(r, w, func(marker byte, segment []byte) error {
		if exif, ok := bytes.CutPrefix(segment, []byte(exifMark)); ok && marker == jpegAPP1 && !seen {
			seen = true
			if turned := tiffOrientation(exif); turned != 1 {
				return writeSegment(w, marker, append([]byte(exifMark), keepOnly(turned)...))
			}
			return nil
		}
		if !drawsJPEG(marker, segment) {
			return nil
		}
		return writeSegment(w, marker, segment)
	})
	if err == nil {
		_, err = w.Write([]byte{0xff, jpegEOI})
	}
	return err
}

// walkJPEG calls f for every segment from the next marker to the end of the
// image, and copies what scans hold.
func walkJPEG(r *bufio.Reader, scans io.Writer, f func(marker byte, segment []byte) error) error {
	buf := make([]byte, math.MaxUint16)
	marker, err := nextMarker(r)
	for err == nil && marker != jpegEOI {
		if marker < jpegSOF0 || marker >= jpegRST0 && marker <= jpegSOI {
			marker, err = nextMarker(r) // stands alone and says nothing here
			continue
		}
		segment, err := readSegment(r, buf)
		if err == nil {
			err = f(marker, segment)
		}
		if err != nil {
			return err
		}
		if marker == jpegSOS {
			marker, err = copyScan(scans, r)
		} else {
			marker, err = nextMarker(r)
		}
		if err != nil {
			return err
		}
	}
	return err
}

// drawsJPEG reports whether a segment is needed to draw the picture: tables
// and frames, and what says which colours are meant.
func drawsJPEG(marker byte, segment []byte) bool {
	switch marker {
	case jpegAPP0:
		return bytes.HasPrefix(segment, []byte("JFIF\x00"))
	case jpegAPP2:
		return bytes.HasPrefix(segment, []byte("ICC_PROFILE\x00"))
	case jpegAPP14:
		return bytes.HasPrefix(segment, []byte("Adobe"))
	}
	return marker >= jpegSOF0 && marker <= jpegEXP
}

// nextMarker finds the next marker; what stands before it belongs to nothing.
func nextMarker(r *bufio.Reader) (byte, error) {
	for {
		if err := skipTo(r, 0xff); err != nil {
			return 0, err
		}
		c, err := r.ReadByte()
		for err == nil && c == 0xff { // fill bytes
			c, err = r.ReadByte()
		}
		if err != nil || c != 0 {
			return c, err
		}
	}
}

// skipTo discards up to and including a byte.
func skipTo(r *bufio.Reader, c byte) error {
	for {
		_, err := r.ReadSlice(c)
		if !errors.Is(err, bufio.ErrBufferFull) {
			return err
		}
	}
}

// readSegment reads what a segment holds into buf. One with an impossible
// length is empty: what follows is looked at for the next marker.
func readSegment(r *bufio.Reader, buf []byte) ([]byte, error) {
	var size [2]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return nil, err
	}
	segment := buf[:max(0, int(binary.BigEndian.Uint16(size[:]))-2)]
	_, err := io.ReadFull(r, segment)
	return segment, err
}

func writeSegment(w *bufio.Writer, marker byte, segment []byte) error {
	head := binary.BigEndian.AppendUint16([]byte{0xff, marker}, uint16(len(segment)+2))
	_, err := w.Write(head)
	if err == nil {
		_, err = w.Write(segment)
	}
	return err
}

// copyScan copies the data of a scan and returns the marker that ends it.
func copyScan(w io.Writer, r *bufio.Reader) (marker byte, err error) {
	for {
		data, err := r.ReadSlice(0xff)
		full := errors.Is(err, bufio.ErrBufferFull)
		if err == nil {
			data = data[:len(data)-1]
		}
		if _, err := w.Write(data); err != nil {
			return 0, err
		}
		switch {
		case full:
			continue
		case err != nil:
			return 0, err
		}
		c, err := r.ReadByte()
		for err == nil && c == 0xff {
			c, err = r.ReadByte()
		}
		if err != nil || c != 0 && (c < jpegRST0 || c > jpegRST7) {
			return c, err
		}
		if _, err := w.Write([]byte{0xff, c}); err != nil {
			return 0, err
		}
	}
}
