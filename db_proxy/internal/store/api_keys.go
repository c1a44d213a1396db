package store

import (
	"context"
	"crypto/subtle"
	"slices"
	"strings"

	"teamtalk/internal/im"
)

// SecretHash is the SHA-256 of the secret of an API key. Secrets are long and
// random, so one round is enough. The zero value is that of no secret.
type SecretHash [32]byte

// APIKey lets a back end use http_msg_server's API.
type APIKey struct {
	ID      string
	Name    string   // whose it is, for people; at most 64 characters
	Scopes  []string // what it may do; the front knows the words
	Rate    uint32   // requests per second
	Revoked bool
	Created uint32 // Unix seconds
	Updated uint32
}

const apiKeyColumns = "id, name, scopes, rate, status, created, updated"

func (k *APIKey) scan(r scanner, more ...any) error {
	var scopes string
	var status uint8
	err := r.Scan(append([]any{&k.ID, &k.Name, &scopes, &k.Rate, &status, &k.Created, &k.Updated}, more...)...)
	k.Scopes = strings.FieldsFunc(scopes, func(r rune) bool { return r == ',' })
	k.Revoked = status != 0
	return err
}

// AddAPIKey stores a new key; its id must be new. The times are set here.
func (s *Store) AddAPIKey(ctx context.Context, k APIKey, hash SecretHash) error {
	scopes := strings.Join(k.Scopes, ",")
	for _, check := range []error{
		checkText("key id", k.ID, 32), checkText("key name", k.Name, 64), checkText("key scopes", scopes, 255),
	} {
		if check != nil {
			return check
		}
	}
	return s.update(ctx, "add_api_key", func(q querier) error {
		now, none := s.now(), SecretHash{}
		_, err := q.exec(ctx, `INSERT INTO IMApiKey
			(id, name, scopes, hash, oldHash, oldUntil, rate, status, created, updated)
			VALUES (?, ?, ?, ?, ?, 0, ?, 0, ?, ?)`, k.ID, k.Name, scopes, hash[:], none[:], k.Rate, now, now)
		return err
	})
}

// APIKeys returns all keys, the oldest first, revoked ones included.
func (s *Store) APIKeys(ctx context.Context) (all []APIKey, err error) {
	scan := func(r scanner) (k APIKey, err error) { return k, k.scan(r) }
	err = s.read(ctx, "api_keys", s.exact, func(q querier) error {
		all, err = list(ctx, q, scan, "SELECT "+apiKeyColumns+" FROM IMApiKey ORDER BY created, id")
		return err
	})
	return all, err
}

// CheckAPIKey returns a key that holds. im.Denied: there is none of that id,
// it is revoked, or the secret is another one. The secret before a rotation
// holds as long as the rotation said.
func (s *Store) CheckAPIKey(ctx context.Context, id string, hash SecretHash) (APIKey, error) {
	type row struct {
		APIKey
		hash, old []byte
		oldUntil  uint32
	}
	scan := func(r scanner) (v row, err error) { return v, v.scan(r, &v.hash, &v.old, &v.oldUntil) }
	var rows []row
	err := s.read(ctx, "check_api_key", s.exact, func(q querier) (err error) {
		rows, err = list(ctx, q, scan, "SELECT "+apiKeyColumns+", hash, oldHash, oldUntil FROM IMApiKey WHERE id = ?", id)
		return err
	})
	switch {
	case err != nil:
		return APIKey{}, err
	case len(rows) == 0 || rows[0].Revoked:
		return APIKey{}, im.Errorf(im.Denied, "no such API key")
	}
	found := rows[0]
	holds := subtle.ConstantTimeCompare(found.hash, hash[:]) == 1
	if found.oldUntil > s.now() {
		holds = subtle.ConstantTimeCompare(found.old, hash[:]) == 1 || holds
	}
	if !holds {
		return APIKey{}, im.Errorf(im.Denied, "another secret")
	}
	return found.APIKey, nil
}

// RevokeAPIKey ends a key for good; im.NotFound if there is none of that id.
// Revoking it again changes nothing.
func (s *Store) RevokeAPIKey(ctx context.Context, id string) error {
	return s.changeAPIKey(ctx, id, "UPDATE IMApiKey SET status = 1, updated = ? WHERE id = ?", s.now(), id)
}

// RotateAPIKey gives a key a new secret. The one it has holds for grace
// seconds more, every older one no longer. im.NotFound if there is no key of
// that id that holds.
func (s *Store) RotateAPIKey(ctx context.Context, id string, hash SecretHash, grace uint32) error {
	now := s.now()
	return s.changeAPIKey(ctx, id, `UPDATE IMApiKey SET oldHash = hash, hash = ?, oldUntil = ?, updated = ?
		WHERE id = ? AND status = 0`, hash[:], now+grace, now, id)
}

func (s *Store) changeAPIKey(ctx context.Context, id, text string, args ...any) error {
	return s.update(ctx, "change_api_key", func(q querier) error {
		n, err := q.exec(ctx, text, args...)
		if err == nil && n == 0 {
			err = im.Errorf(im.NotFound, "no API key %q", id)
		}
		return err
	})
}

// APIChange is a line of the audit table: who changed what through the API.
type APIChange struct {
	AtMs                                      uint64 // Unix milliseconds
	KeyID, Action, Subject, RequestID, Remote string
	Status                                    uint32 // of the HTTP answer
}

// AddAPIChanges writes lines of the audit table, all or none. A line that is
// there already is not written again.
func (s *Store) AddAPIChanges(ctx context.Context, changes []APIChange) error {
	if len(changes) == 0 {
		return nil
	}
	return s.update(ctx, "add_api_changes", func(q querier) error {
		fresh, err := freshChanges(ctx, q, changes)
		if err != nil {
			return err
		}
		for part := range slices.Chunk(fresh, insertRows) {
			st := q.stmt("INSERT INTO IMApiAudit (atMs, status, keyId, action, subject, requestId, remote) VALUES ")
			for _, c := range part {
				st.row(c.AtMs).col(uint64(c.Status))
				for _, v := range []string{
					cut(c.KeyID, 32), cut(c.Action, 32), cut(c.Subject, 255), cut(c.RequestID, 64), cut(c.Remote, 64),
				} {
					st.text = append(st.text, ',')
					st.str(v)
				}
				st.end()
			}
			if err := q.run(ctx, st); err != nil {
				return err
			}
		}
		return nil
	})
}

// cut shortens a text to what its column takes, in characters.
func cut(v string, limit int) string {
	v = strings.ToValidUTF8(v, "?")
	if runes := []rune(v); len(runes) > limit {
		return string(runes[:limit])
	}
	return v
}

// freshChanges leaves out what an attempt has written whose answer was lost.
func freshChanges(ctx context.Context, q querier, changes []APIChange) (fresh []APIChange, err error) {
	const same = `SELECT COUNT(*) FROM IMApiAudit
		WHERE keyId = ? AND atMs = ? AND action = ? AND subject = ? AND requestId = ?`
	for _, c := range changes {
		n, err := number(ctx, q, same, cut(c.KeyID, 32), c.AtMs, cut(c.Action, 32), cut(c.Subject, 255), cut(c.RequestID, 64))
		if err != nil {
			return nil, err
		}
		if n == 0 {
			fresh = append(fresh, c)
		}
	}
	return fresh, nil
}
