package chat

import (
	"slices"

	"teamtalk/client"
	"teamtalk/internal/im"
)

// applyRoster applies the events about users and groups.
func (m *Model) applyRoster(e Event) {
	switch e := e.(type) {
	case UsersLoaded:
		m.usersLoaded(e)
	case GroupsLoaded:
		m.addGroups(e.Groups)
	case PresenceChanged:
		m.presence(e.User, e.Online)
	case MembersChanged:
		m.members(e)
	case SignatureChanged:
		if c := m.contacts[e.User]; c != nil {
			c.Signature = e.Text
		}
	}
}

// sync takes what was asked for after a log-in: who there is, what is unread
// and, after the first time, what was missed.
func (m *Model) sync(e Synced) {
	m.addUsers(e.Users)
	m.addGroups(e.Groups)
	clear(m.online)
	for _, id := range e.Online {
		m.online[id] = true
	}
	clear(m.asked)
	unread := make(map[Key]Unread, len(e.Unread))
	for _, u := range e.Unread {
		unread[u.Key] = u
		m.learn(u.Key, m.Me)
	}
	first := !m.synced
	m.synced, m.fresh = true, true
	m.say(StateNotice{State: client.Online, Addr: m.Addr})
	for _, s := range e.Sessions {
		c := m.conversation(s.Key)
		if s.Updated.After(c.Updated) {
			c.Updated = s.Updated
		}
		m.learn(s.Key, m.Me)
		m.heard(c, s.Latest, first)
	}
	for _, u := range e.Unread {
		c := m.conversation(u.Key)
		if !first && !c.watched && u.Count > 0 {
			// Nothing was known of it: exactly the unread ones are new.
			c.watch(u.Latest - min(u.Latest, im.MsgID(u.Count)))
		}
		m.heard(c, u.Latest, first)
	}
	m.resume(unread)
	if c := m.conversations[m.Current]; c != nil && c.opened {
		m.open(m.Current)
	}
}

// resume takes the server's counts, asks for what was missed and sends what
// has waited.
func (m *Model) resume(unread map[Key]Unread) {
	for _, k := range m.keys() {
		c := m.conversations[k]
		c.Unread = unread[k].Count + c.unreadAfter(max(c.counted, c.readTo))
		if c.Unread == 0 {
			c.readTo = max(c.readTo, c.counted)
		} else {
			m.say(UnreadNotice{k, c.Unread})
		}
		c.filling, c.loading, c.checking = false, false, false
		m.fillGap(c)
		m.send(c)
	}
	early := m.early
	m.early = nil
	for _, e := range early {
		m.received(e)
	}
}

// heard notes the newest id of a conversation. At the first log-in everything
// up to it counts as known; later it shows what was missed.
func (m *Model) heard(c *Conversation, latest im.MsgID, first bool) {
	c.counted = max(c.counted, latest)
	if first && !c.watched {
		c.watch(latest)
	}
	c.latest = max(c.latest, latest)
}

// usersLoaded takes accounts that were asked for by their ids, and releases
// what waited for them.
func (m *Model) usersLoaded(e UsersLoaded) {
	m.addUsers(e.Users)
	for _, id := range e.IDs {
		if m.contacts[id] == nil {
			m.contacts[id] = &Contact{ID: id, Left: true}
		}
		delete(m.asked, id)
	}
	for _, k := range m.keys() {
		m.release(m.conversations[k])
	}
}

// addUsers adds or replaces accounts.
func (m *Model) addUsers(users []Contact) {
	for _, u := range users {
		m.contacts[u.ID] = &u
	}
}

// addGroups adds or replaces groups.
func (m *Model) addGroups(groups []Group) {
	for _, g := range groups {
		m.groups[g.ID] = &g
	}
}

// presence notes that a user came or went.
func (m *Model) presence(id im.UserID, online bool) {
	if m.online[id] == online {
		return
	}
	m.online[id] = online
	if m.fresh && id != m.Me {
		m.ask(id)
		m.say(PresenceNotice{id, online})
	}
}

// members notes that members of a group changed and asks for the group anew.
func (m *Model) members(e MembersChanged) {
	if e.Removed && slices.Contains(e.Changed, m.Me) {
		delete(m.groups, e.Group)
		if k := (Key{im.Group, uint32(e.Group)}); m.Current == k {
			m.Current = Key{}
		}
	} else {
		m.do(DoGroups{[]im.GroupID{e.Group}})
	}
	m.say(MembersNotice{e})
}
