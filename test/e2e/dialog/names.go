package dialog

import (
	"fmt"
	"maps"
	"strconv"
	"strings"

	"teamtalk/internal/im"
)

// names are the users, groups and variables of one scenario.
type names struct {
	tag    string // makes account names unique: alice is alice_tag
	users  map[string]im.UserID
	groups map[string]im.GroupID
	vars   map[string]string
}

// nobody is an id that no account and no group has.
const nobody = 999_999_999

// account returns the account name of a user of the script.
func (n *names) account(user string) string { return user + "_" + n.tag }

// user returns the id of a user: a name, "nobody" or a number.
func (n *names) user(w word) (im.UserID, error) {
	if id, ok := n.users[w.text]; ok {
		return id, nil
	}
	if w.text == "nobody" {
		return nobody, nil
	}
	id, err := strconv.ParseUint(w.text, 10, 32)
	if err != nil {
		return 0, fmt.Errorf("%q is no user", w.text)
	}
	return im.UserID(id), nil
}

// userIDs returns the ids of several users.
func (n *names) userIDs(words []word) ([]uint32, error) {
	ids := make([]uint32, len(words))
	for i, w := range words {
		id, err := n.user(w)
		if err != nil {
			return nil, err
		}
		ids[i] = uint32(id)
	}
	return ids, nil
}

// group returns the id of a group: a name, "nogroup" or a number.
func (n *names) group(w word) (im.GroupID, error) {
	if id, ok := n.groups[w.text]; ok {
		return id, nil
	}
	if w.text == "nogroup" {
		return nobody, nil
	}
	id, err := strconv.ParseUint(w.text, 10, 32)
	if err != nil {
		return 0, fmt.Errorf("%q is no group (yet)", w.text)
	}
	return im.GroupID(id), nil
}

// session returns what a conversation is called on the wire: a group by its
// name, anything else is a user.
func (n *names) session(w word) (im.Kind, uint32, error) {
	if _, ok := n.groups[w.text]; ok || w.text == "nogroup" {
		id, err := n.group(w)
		return im.Group, uint32(id), err
	}
	id, err := n.user(w)
	return im.Single, uint32(id), err
}

// userName is the reverse of user.
func (n *names) userName(id uint32) string {
	for name, known := range n.users {
		if uint32(known) == id {
			return name
		}
	}
	return fmt.Sprintf("user:%d", id)
}

// userNames returns names with a space between them.
func (n *names) userNames(ids []uint32) string {
	all := make([]string, len(ids))
	for i, id := range ids {
		all[i] = n.userName(id)
	}
	return strings.Join(all, " ")
}

// sessionName is the reverse of session.
func (n *names) sessionName(kind im.Kind, id uint32) string {
	if kind != im.Group {
		return n.userName(id)
	}
	for name, known := range n.groups {
		if uint32(known) == id {
			return name
		}
	}
	return fmt.Sprintf("group:%d", id)
}

// expand replaces variables in what is sent or done.
func (n *names) expand(words []word) ([]word, error) {
	out := make([]word, len(words))
	for i, w := range words {
		out[i] = w
		if !strings.Contains(w.text, "$") {
			continue
		}
		var missing string
		out[i].text = expandVars(w.text, func(name string) string {
			v, ok := n.vars[name]
			if !ok {
				missing = name
			}
			return v
		})
		if missing != "" {
			return nil, fmt.Errorf("$%s is not bound", missing)
		}
	}
	return out, nil
}

// expandVars replaces every $name in s; a $ without a name stays.
func expandVars(s string, value func(name string) string) string {
	var out strings.Builder
	for {
		at := strings.IndexByte(s, '$')
		if at < 0 {
			return out.String() + s
		}
		out.WriteString(s[:at])
		s = s[at+1:]
		end := 0
		for end < len(s) && (s[end] == '_' || s[end] >= '0' && s[end] <= '9' || s[end]|0x20 >= 'a' && s[end]|0x20 <= 'z') {
			end++
		}
		if end == 0 {
			out.WriteByte('$')
			continue
		}
		out.WriteString(value(s[:end]))
		s = s[end:]
	}
}

// match compares what arrived with what was expected and, if it fits, binds
// variables.
func (n *names) match(want, got []word) bool {
	fresh := make(map[string]string)
	fits := func() bool {
		maps.Copy(n.vars, fresh)
		return true
	}
	for i, w := range want {
		if !w.quoted && w.text == "..." {
			return fits()
		}
		if i >= len(got) {
			return false
		}
		name, variable := strings.CutPrefix(w.text, "$")
		switch {
		case !w.quoted && w.text == "*":
		case !w.quoted && variable:
			bound, ok := n.vars[name]
			if !ok {
				bound, ok = fresh[name]
			}
			if ok && bound != got[i].text {
				return false
			}
			fresh[name] = got[i].text
		case w.text != got[i].text:
			return false
		}
	}
	return len(want) == len(got) && fits()
}
