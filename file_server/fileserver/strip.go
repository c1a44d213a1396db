package fileserver

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"strings"

	"teamtalk/file_server/internal/blob"
	"teamtalk/file_server/internal/catalog"
	"teamtalk/file_server/internal/image"
)

// isImage reports whether a file is an image, by its name or its content.
func (s *Server) isImage(u *blob.Upload, name string) bool {
	if imageExts.MatchString(strings.TrimPrefix(filepath.Ext(name), ".")) {
		return true
	}
	_, err := image.Inspect(io.NewSectionReader(u, 0, u.Size()), math.MaxInt)
	return err == nil
}

// orientationRoom is more than an image can grow by: what says how it is to be
// turned is written anew.
const orientationRoom = 64

// stripped returns an upload with the image of u as it is to be kept, which
// the caller discards; nil for what is no image after all.
func (s *Server) stripped(u *blob.Upload) (clean *blob.Upload, err error) {
	clean, err = s.store.Create("image-"+strings.ToLower(rand.Text()), u.Size()+orientationRoom, noteOf(catalog.Image))
	if err != nil {
		return nil, err
	}
	if err := image.Strip(clean, io.NewSectionReader(u, 0, u.Size())); err != nil {
		err = errors.Join(err, clean.Discard())
		if errors.Is(err, image.ErrFormat) {
			return nil, nil
		}
		return nil, fmt.Errorf("strip %s: %w", u.ID(), err)
	}
	clean.Cut()
	return clean, nil
}
