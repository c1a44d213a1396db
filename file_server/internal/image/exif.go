package image

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"io"
)

// orientation reads how a JPEG is to be turned, from its EXIF data: 1 (not at
// all) to 8. What is damaged or absent counts as 1.
func orientation(r io.Reader) int {
	b := bufio.NewReader(r)
	var marker [4]byte
	if _, err := io.ReadFull(b, marker[:2]); err != nil || marker[0] != 0xff || marker[1] != 0xd8 {
		return 1
	}
	for range 64 { // segments before the image itself
		if _, err := io.ReadFull(b, marker[:]); err != nil || marker[0] != 0xff || marker[1] == 0xda {
			return 1
		}
		size := int(binary.BigEndian.Uint16(marker[2:])) - 2
		if size < 0 {
			return 1
		}
		if marker[1] != 0xe1 {
			if _, err := b.Discard(size); err != nil {
				return 1
			}
			continue
		}
		segment := make([]byte, size)
		if _, err := io.ReadFull(b, segment); err != nil {
			return 1
		}
		if tiff, ok := bytes.CutPrefix(segment, []byte(exifMark)); ok {
			return tiffOrientation(tiff)
		}
	}
	return 1
}

// tagOrientation is the tag that says how an image is to be turned.
const tagOrientation = 0x0112

// tiffOrientation looks for it in the first directory.
func tiffOrientation(tiff []byte) int {
	var order binary.ByteOrder = binary.LittleEndian
	switch {
	case bytes.HasPrefix(tiff, []byte("MM\x00*")):
		order = binary.BigEndian
	case !bytes.HasPrefix(tiff, []byte("II*\x00")):
		return 1
	}
	if len(tiff) < 8 {
		return 1
	}
	at := int64(order.Uint32(tiff[4:]))
	if at+2 > int64(len(tiff)) {
		return 1
	}
	entries := tiff[at+2:]
	for range order.Uint16(tiff[at:]) {
		const entry = 12
		if len(entries) < entry {
			return 1
		}
		if order.Uint16(entries) == tagOrientation {
			if v := int(order.Uint16(entries[8:])); v >= 1 && v <= 8 {
				return v
			}
			return 1
		}
		entries = entries[entry:]
	}
	return 1
}
