package presence

import "teamtalk/internal/im"

// Routes groups users by the server that holds a connection of theirs. The
// zero value is ready; it keeps its storage from one use to the next.
type Routes struct {
	groups []Group
}

// Group is the users one server holds.
type Group struct {
	Server  Server
	Targets []uint32 // valid until the next Locate
}

// Locate fills r with the servers that hold the targets, except one of them.
// A user with terminals at two servers is in both groups; one who is not
// on-line is in none.
func (t *Table) Locate(targets []uint32, except Server, r *Routes) []Group {
	r.groups = r.groups[:0]
	t.mu.RLock()
	defer t.mu.RUnlock()
	for _, target := range targets {
		at := t.users[im.UserID(target)]
		for i := range at {
			if at[i].server != except {
				g := r.group(at[i].server)
				g.Targets = append(g.Targets, target)
			}
		}
	}
	return r.groups
}

// group returns the group of a server. There are few servers, so it looks
// through them; a group made anew takes the storage of an earlier use.
func (r *Routes) group(s Server) *Group {
	for i := range r.groups {
		if r.groups[i].Server == s {
			return &r.groups[i]
		}
	}
	n := len(r.groups)
	if n == cap(r.groups) {
		r.groups = append(r.groups, Group{})
	} else {
		r.groups = r.groups[:n+1]
	}
	g := &r.groups[n]
	g.Server, g.Targets = s, g.Targets[:0]
	return g
}
