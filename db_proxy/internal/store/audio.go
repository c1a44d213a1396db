package store

import (
	"context"

	"teamtalk/internal/im"
)

// Audio is a voice message: where its sound is, and how long it is.
type Audio struct {
	Path    string // a URL
	Size    uint32 // bytes
	Seconds uint32
}

// AddAudio enters a sound and returns its id, which is the content of its
// message. Source: docs/protocol/storage.md, IMAudio.
func (s *Store) AddAudio(ctx context.Context, from im.UserID, to uint32, a Audio) (id uint32, err error) {
	if err := checkText("path of a voice message", a.Path, 255); err != nil {
		return 0, err
	}
	err = s.update(ctx, "add_audio", func(q querier) (err error) {
		id, err = q.insert(ctx, "INSERT INTO IMAudio (fromId, toId, path, size, duration, created) VALUES (?, ?, ?, ?, ?, ?)",
			from, to, a.Path, a.Size, a.Seconds, s.now())
		return err
	})
	return id, err
}

// Audios returns the sounds with these ids; missing ones are left out.
func (s *Store) Audios(ctx context.Context, ids []uint32) (map[uint32]Audio, error) {
	type row struct {
		id uint32
		Audio
	}
	found := make(map[uint32]Audio, len(ids))
	if len(ids) == 0 {
		return found, nil
	}
	scan := func(r scanner) (v row, err error) { return v, r.Scan(&v.id, &v.Path, &v.Size, &v.Seconds) }
	err := s.read(ctx, "audios", s.exact, func(q querier) error {
		rows, err := listStmt(ctx, q, scan, nums(q.stmt("SELECT id, path, size, duration FROM IMAudio WHERE id IN "), ids))
		for _, r := range rows {
			found[r.id] = r.Audio
		}
		return err
	})
	return found, err
}
