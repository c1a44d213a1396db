package chat

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"

	"teamtalk/client"
	"teamtalk/cmd/teamtalk/internal/words"
	"teamtalk/internal/im"
)

// Model is everything the client knows. It does no I/O and has no goroutine:
// Update changes it and says what to do. It is for one goroutine.
type Model struct {
	Me      im.UserID // 0 before the first log-in
	State   client.State
	Addr    string // of the msg_server, when Online
	Problem error  // why the session is not Online; may be nil
	Final   bool   // the session has ended; TakeBack may begin it anew
	Lang    words.Lang
	Current Key // the open conversation; zero: none

	contacts      map[im.UserID]*Contact
	groups        map[im.GroupID]*Group
	conversations map[Key]*Conversation

	synced   bool // a roster has been loaded once
	fresh    bool // the roster of this connection has been loaded
	safe     bool // a repeated send is stored once
	files    bool // the server takes files of messages
	watching bool
	early    []Received         // pushed before the roster came
	asked    map[im.UserID]bool // accounts asked for by DoUsers and not answered
	online   map[im.UserID]bool
	coming   map[Key]string // files that somebody is sending, by their ids; the last of each conversation

	effects []Effect // collected by Update
	notices []Notice
}

// NewModel returns an empty model.
func NewModel() *Model {
	return &Model{
		contacts:      make(map[im.UserID]*Contact),
		groups:        make(map[im.GroupID]*Group),
		conversations: make(map[Key]*Conversation),
		asked:         make(map[im.UserID]bool),
		online:        make(map[im.UserID]bool),
		coming:        make(map[Key]string),
	}
}

// do adds an effect.
func (m *Model) do(e Effect) { m.effects = append(m.effects, e) }

// say adds a notice.
func (m *Model) say(n Notice) { m.notices = append(m.notices, n) }

// Ready reports whether contacts and groups are known and up to date.
func (m *Model) Ready() bool { return m.fresh }

// Conversation returns a conversation, nil if nothing is known of it.
func (m *Model) Conversation(k Key) *Conversation { return m.conversations[k] }

// conversation returns a conversation, made if needed.
func (m *Model) conversation(k Key) *Conversation {
	c := m.conversations[k]
	if c == nil {
		c = &Conversation{Key: k}
		m.conversations[k] = c
	}
	return c
}

// Contact returns a user; unknown ones have only an id.
func (m *Model) Contact(id im.UserID) Contact {
	contact := Contact{ID: id}
	if c := m.contacts[id]; c != nil {
		contact = *c
	}
	contact.Online = m.online[id]
	return contact
}

// Group returns a group; unknown ones have only an id.
func (m *Model) Group(id im.GroupID) Group {
	if g := m.groups[id]; g != nil {
		return *g
	}
	return Group{ID: id}
}

// UserName returns the log-in name of a user, or the id as text.
func (m *Model) UserName(id im.UserID) string {
	return cmp.Or(m.Contact(id).Name, strconv.FormatUint(uint64(id), 10))
}

// Nick returns what to call a user: the nick, else the log-in name.
func (m *Model) Nick(id im.UserID) string {
	return cmp.Or(strings.TrimSpace(m.Contact(id).Nick), m.UserName(id))
}

// Name returns the name of a conversation that Find understands: a log-in
// name, or "#" and the name of a group, or "#" and its id when the name is
// missing or not unique.
func (m *Model) Name(k Key) string {
	if k.Kind != im.Group {
		return m.UserName(im.UserID(k.ID))
	}
	name := m.Group(im.GroupID(k.ID)).Name
	if name == "" || len(m.groupsNamed(name)) > 1 {
		name = strconv.FormatUint(uint64(k.ID), 10)
	}
	return "#" + name
}

// Title returns the name of a conversation to show.
func (m *Model) Title(k Key) string {
	if k.Kind == im.Group {
		return cmp.Or(m.Group(im.GroupID(k.ID)).Name, m.Name(k))
	}
	return m.Nick(im.UserID(k.ID))
}

// Find returns the conversation with a name: a log-in name, nick or id of a
// user; "#" and the name or id of a group.
func (m *Model) Find(name string) (Key, bool) {
	if group, ok := strings.CutPrefix(name, "#"); ok {
		if found := m.groupsNamed(group); len(found) == 1 {
			return Key{im.Group, uint32(found[0])}, true
		}
		id, err := strconv.ParseUint(group, 10, 32)
		_, known := m.groups[im.GroupID(id)]
		return Key{im.Group, uint32(id)}, err == nil && known
	}
	byNick := Key{}
	for id, c := range m.contacts {
		if c.Name == name && name != "" && id != m.Me {
			return Key{im.Single, uint32(id)}, true
		}
		if c.Nick == name && name != "" && id != m.Me {
			byNick = Key{im.Single, uint32(id)}
		}
	}
	if byNick != (Key{}) {
		return byNick, true
	}
	id, err := strconv.ParseUint(name, 10, 32)
	known := m.contacts[im.UserID(id)] != nil && im.UserID(id) != m.Me
	return Key{im.Single, uint32(id)}, err == nil && known
}

// groupsNamed returns the groups with a name.
func (m *Model) groupsNamed(name string) []im.GroupID {
	var found []im.GroupID
	for id, g := range m.groups {
		if g.Name == name {
			found = append(found, id)
		}
	}
	return found
}

// Contacts returns the users to show, without the own account: the latest
// conversations first, then the others by name. filter keeps those whose name
// or nick contains it.
func (m *Model) Contacts(filter string) []Key {
	keys := make([]Key, 0, len(m.contacts))
	for id, c := range m.contacts {
		k := Key{im.Single, uint32(id)}
		if id == m.Me || (c.Left && m.conversations[k] == nil) {
			continue
		}
		if contains(c.Name, filter) || contains(c.Nick, filter) {
			keys = append(keys, k)
		}
	}
	m.sort(keys)
	return keys
}

// Groups returns the groups to show, in the order of Contacts.
func (m *Model) Groups(filter string) []Key {
	keys := make([]Key, 0, len(m.groups))
	for id, g := range m.groups {
		if contains(g.Name, filter) {
			keys = append(keys, Key{im.Group, uint32(id)})
		}
	}
	m.sort(keys)
	return keys
}

// contains reports whether a name contains a filter, whatever the case.
func contains(name, filter string) bool {
	return strings.Contains(strings.ToLower(name), strings.ToLower(filter))
}

// sort orders conversations: latest first, the silent ones by title.
func (m *Model) sort(keys []Key) {
	type entry struct {
		updated time.Time
		title   string
	}
	order := make(map[Key]entry, len(keys))
	for _, k := range keys {
		e := entry{title: strings.ToLower(m.Title(k))}
		if c := m.conversations[k]; c != nil {
			e.updated = c.Updated
		}
		order[k] = e
	}
	slices.SortFunc(keys, func(a, b Key) int {
		x, y := order[a], order[b]
		return cmp.Or(y.updated.Compare(x.updated), cmp.Compare(x.title, y.title), cmp.Compare(a.ID, b.ID))
	})
}

// Room returns how many more messages can be written to a conversation before
// some of those on their way are stored.
func (m *Model) Room(k Key) int {
	if c := m.conversations[k]; c != nil {
		return maxOutbox - len(c.outbox)
	}
	return maxOutbox
}

// UnreadTotal returns the number of unread messages and of conversations that
// have some.
func (m *Model) UnreadTotal() (messages, conversations int) {
	for _, c := range m.conversations {
		if c.Unread > 0 {
			messages += c.Unread
			conversations++
		}
	}
	return messages, conversations
}

// Unsent returns how many own messages are pending and how many failed.
func (m *Model) Unsent() (pending, failed int) {
	for _, c := range m.conversations {
		for _, o := range c.outbox {
			if o.Status == Pending {
				pending++
			} else {
				failed++
			}
		}
	}
	return pending, failed
}
