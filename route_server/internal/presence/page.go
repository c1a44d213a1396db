package presence

import (
	"slices"

	"teamtalk/internal/im"
)

// User is somebody who is on-line, and on which kinds of clients, ascending.
type User struct {
	ID    im.UserID
	Types []im.ClientType
}

// Terminals returns those of the users who are on-line, in their order.
func (t *Table) Terminals(users []uint32) (found []User) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	for _, id := range users {
		if at := t.users[im.UserID(id)]; len(at) > 0 {
			found = append(found, User{ID: im.UserID(id), Types: kinds(at)})
		}
	}
	return found
}

// Page returns the users on-line above an id, ascending, at most limit, and
// whether there are more. It looks at everybody: it is for people and back
// ends that ask now and then.
func (t *Table) Page(after im.UserID, limit int) (page []User, more bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	ids := make([]im.UserID, 0, len(t.users))
	for id := range t.users {
		if id > after {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	if len(ids) > limit {
		ids, more = ids[:limit], true
	}
	for _, id := range ids {
		page = append(page, User{ID: id, Types: kinds(t.users[id])})
	}
	return page, more
}

// kinds returns the client types of a user, each once.
func kinds(at []holding) (all []im.ClientType) {
	for i, kind := range [types]im.ClientType{im.Windows, im.Mac, im.IOS, im.Android} {
		if slices.ContainsFunc(at, func(h holding) bool { return h.counts[i] > 0 }) {
			all = append(all, kind)
		}
	}
	return all
}
