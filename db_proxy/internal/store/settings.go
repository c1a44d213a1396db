package store

import (
	"context"

	"teamtalk/internal/im"
)

// SetGroupShield mutes a group for a user, or unmutes it. Whether he is a
// member is the caller's question.
func (s *Store) SetGroupShield(ctx context.Context, user im.UserID, group im.GroupID, on bool) error {
	return s.update(ctx, "set_group_shield", func(q querier) error {
		_, err := q.exec(ctx, `INSERT INTO IMGroupShield (userId, groupId, status, updated) VALUES (?, ?, ?, ?)
			ON DUPLICATE KEY UPDATE status = VALUES(status), updated = VALUES(updated)`, user, group, flag(on), s.now())
		return err
	})
}

// GroupShields reports which of the given users have muted a group; others
// are absent.
func (s *Store) GroupShields(ctx context.Context, group im.GroupID, users []im.UserID) (map[im.UserID]bool, error) {
	scan := func(r scanner) (u im.UserID, err error) { return u, r.Scan(&u) }
	on := make(map[im.UserID]bool)
	if len(users) == 0 {
		return on, nil
	}
	err := s.read(ctx, "group_shields", s.exact, func(q querier) error {
		st := nums(q.stmt("SELECT userId FROM IMGroupShield WHERE status = 1 AND groupId = ? AND userId IN ", group), users)
		all, err := listStmt(ctx, q, scan, st)
		for _, u := range all {
			on[u] = true
		}
		return err
	})
	return on, err
}

// ShieldsOf returns the groups that a user has muted.
func (s *Store) ShieldsOf(ctx context.Context, user im.UserID) (map[im.GroupID]bool, error) {
	scan := func(r scanner) (g im.GroupID, err error) { return g, r.Scan(&g) }
	on := make(map[im.GroupID]bool)
	err := s.read(ctx, "shields_of", s.exact, func(q querier) error {
		all, err := list(ctx, q, scan, "SELECT groupId FROM IMGroupShield WHERE userId = ? AND status = 1", user)
		for _, g := range all {
			on[g] = true
		}
		return err
	})
	return on, err
}

// maxToken is how many bytes a device token has at most.
const maxToken = 255

// SetDeviceToken registers where a user's phone receives pushes; "" means
// nowhere. A token belongs to the user who registered it last.
// Source: docs/protocol/defects.md C9, C10.
func (s *Store) SetDeviceToken(ctx context.Context, user im.UserID, client im.ClientType, token string) error {
	if len(token) > maxToken {
		return im.Errorf(im.Invalid, "store: device token has more than %d bytes", maxToken)
	}
	if err := checkText("device token", token, maxToken); err != nil {
		return err
	}
	return s.update(ctx, "set_device_token", func(q querier) error {
		if token == "" {
			_, err := q.exec(ctx, "DELETE FROM IMDeviceToken WHERE userId = ?", user)
			return err
		}
		if _, err := q.exec(ctx, "DELETE FROM IMDeviceToken WHERE token = ? AND userId <> ?", token, user); err != nil {
			return err
		}
		_, err := q.exec(ctx, `INSERT INTO IMDeviceToken (userId, clientType, token, updated) VALUES (?, ?, ?, ?)
			ON DUPLICATE KEY UPDATE clientType = VALUES(clientType), token = VALUES(token), updated = VALUES(updated)`,
			user, client, token, s.now())
		return err
	})
}

// DeviceTokens returns the tokens of users, ascending by user; a user without
// one is absent.
func (s *Store) DeviceTokens(ctx context.Context, users []im.UserID) (all []DeviceToken, err error) {
	if len(users) == 0 {
		return nil, nil
	}
	scan := func(r scanner) (t DeviceToken, err error) { return t, r.Scan(&t.User, &t.ClientType, &t.Token) }
	err = s.read(ctx, "device_tokens", s.exact, func(q querier) error {
		st := nums(q.stmt("SELECT userId, clientType, token FROM IMDeviceToken WHERE userId IN "), users)
		all, err = listStmt(ctx, q, scan, st.add(" ORDER BY userId"))
		return err
	})
	return all, err
}

// RemoveDeviceTokens forgets tokens and returns those that were there.
func (s *Store) RemoveDeviceTokens(ctx context.Context, tokens []string) (removed []DeviceToken, err error) {
	if len(tokens) == 0 {
		return nil, nil
	}
	scan := func(r scanner) (t DeviceToken, err error) { return t, r.Scan(&t.User, &t.ClientType, &t.Token) }
	err = s.update(ctx, "remove_device_tokens", func(q querier) error {
		removed = removed[:0]
		for _, token := range tokens {
			found, err := list(ctx, q, scan, "SELECT userId, clientType, token FROM IMDeviceToken WHERE token = ?", token)
			if err != nil {
				return err
			}
			if _, err := q.exec(ctx, "DELETE FROM IMDeviceToken WHERE token = ?", token); err != nil {
				return err
			}
			removed = append(removed, found...)
		}
		return nil
	})
	return removed, err
}
