package chat

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"teamtalk/client"
	"teamtalk/cmd/teamtalk/internal/words"
	"teamtalk/internal/im"
)

const plainHistory = 20 // messages that /history prints by itself

// command carries out a command of the input.
func (p *plain) command(ctx context.Context, r *request) {
	current := p.model.Current
	if r.needs && current == (Key{}) {
		p.refuse(words.Errorf(words.NoneChosen))
		return
	}
	switch r.name {
	case "quit":
		p.quitting = true
	case "help":
		p.printf("%s", plainHelp)
	case "who":
		p.who()
	case "groups":
		p.groups()
	case "to":
		p.to(r.rest)
	case "history":
		p.history(ctx, r.rest)
	default:
		p.about(ctx, r)
	}
}

// about carries out what concerns messages and files.
func (p *plain) about(ctx context.Context, r *request) {
	current := p.model.Current
	e, err := r.about(current)
	if err != nil {
		p.refuse(err)
		return
	}
	p.handle(ctx, e)
	if r.name == "read" {
		p.printf("read %s %d", p.name(current), p.model.conversation(current).readTo)
	}
}

// compose sends a text to the current conversation, in as many messages as it
// takes.
func (p *plain) compose(ctx context.Context, text string) {
	current := p.model.Current
	parts := split(text, maxText)
	room := p.model.Room(current)
	switch {
	case current == (Key{}):
		p.refuse(words.Errorf(words.NoneChosen))
		return
	case len(parts) > room:
		p.lost++
		p.refuse(words.Errorf(words.TooLongToSend, room))
		return
	case len(parts) > 1:
		p.printf("split %s %d", p.name(current), len(parts))
	}
	for _, part := range parts {
		p.handle(ctx, Compose{Key: current, ClientMsgID: client.NewClientMsgID(), Text: part, At: p.now()})
	}
}

// to chooses the current conversation. History is left for /history. Without
// one, what follows must not go to the one before.
func (p *plain) to(name string) {
	k, ok := p.model.Find(unescape(name))
	p.model.Current = k
	if !ok {
		p.model.Current = Key{}
		p.refuse(words.Errorf(words.NobodyCalled, name))
		return
	}
	p.printf("to %s", p.name(k))
}

// history asks for the newest messages of the current conversation.
func (p *plain) history(ctx context.Context, count string) {
	n := plainHistory
	if count != "" {
		var err error
		if n, err = strconv.Atoi(count); err != nil || n <= 0 {
			p.refuse(words.Errorf(words.CommandTakes, "/history [N]"))
			return
		}
	}
	p.handle(ctx, Newest{p.model.Current, n})
}

// who prints the contacts.
func (p *plain) who() {
	for _, k := range p.model.Contacts("") {
		c := p.model.Contact(im.UserID(k.ID))
		p.printf("user %s %d %s %s", p.name(k), k.ID, presence(c.Online), escape(p.model.Nick(c.ID)))
	}
}

// groups prints the groups.
func (p *plain) groups() {
	for _, k := range p.model.Groups("") {
		p.printf("group %s %d %s", p.name(k), k.ID, p.users(p.model.Group(im.GroupID(k.ID)).Members))
	}
}

// users returns the names of users, comma-separated.
func (p *plain) users(ids []im.UserID) string {
	names := make([]string, len(ids))
	for i, id := range ids {
		names[i] = escapeName(p.model.UserName(id))
	}
	slices.Sort(names)
	return strings.Join(names, ",")
}

// name returns the name of a conversation as it is printed.
func (p *plain) name(k Key) string { return escapeName(p.model.Name(k)) }

// from returns who wrote a message, and where if that is a group.
func (p *plain) from(k Key, m *Message) string {
	if k.Kind == im.Group {
		return p.name(k) + "/" + escapeName(p.model.UserName(m.From))
	}
	return p.name(k)
}

// presence returns the word for a presence.
func presence(online bool) string {
	if online {
		return "online"
	}
	return "offline"
}

// printf prints one line.
func (p *plain) printf(format string, args ...any) {
	if _, err := fmt.Fprintf(p.out, format+"\n", args...); err != nil {
		p.quitting = true // nobody reads any more
	}
}

// print prints a notice.
func (p *plain) print(n Notice) {
	switch n := n.(type) {
	case StateNotice:
		p.printState(n)
	case MessageNotice:
		p.printf("message %s %d %s", p.from(n.Key, n.Message), n.Message.ID, escape(n.Text))
	case SentNotice:
		p.printf("sent %s %d %s", p.name(n.Key), n.Message.ID, escape(n.Text))
	case FailedNotice:
		p.printf("failed %s %s", p.name(n.Key), escape(n.Text))
		p.printf("error %s: %s", p.name(n.Key), escape(n.Reason))
	case HistoryNotice:
		for i := range n.Messages {
			m := &n.Messages[i]
			p.printf("history %s %s %d %s", p.name(n.Key), escapeName(p.model.UserName(m.From)), m.ID, escape(m.Text))
		}
		p.printf("history-end %s %d", p.name(n.Key), len(n.Messages))
	case UnreadNotice:
		p.printf("unread %s %d", p.name(n.Key), n.Count)
	case ReadNotice:
		p.printf("read %s %d", p.name(n.Key), n.ID)
	case PresenceNotice:
		p.printf("presence %s %s", escapeName(p.model.UserName(n.User)), presence(n.Online))
	case MembersNotice:
		change := "added"
		if n.Removed {
			change = "removed"
		}
		p.printf("members %s %s %s", p.name(Key{im.Group, uint32(n.Group)}), change, p.users(n.Changed))
	case FileNotice:
		switch {
		case !n.Ended:
			p.printf("file %s %d%% %s", p.name(n.Key), n.Percent, escape(n.Name))
		case n.ID != "":
			p.printf("file-sent %s %s %s", p.name(n.Key), n.ID, escape(n.Name))
		default:
			p.printf("file-got %s %s", p.name(n.Key), escape(n.Path))
		}
	case PeerFileNotice:
		p.printf("%s", n.line(p.from(n.Key, &Message{From: n.User})))
	case Trouble:
		p.printf("error %s: %s", escape(n.What), escape(p.model.Lang.Explain(n.Err)))
	}
}

// printState prints a change of the connection.
func (p *plain) printState(n StateNotice) {
	if n.State == client.Online {
		p.printf("online %s", n.Addr)
		return
	}
	word := "offline"
	if kicked(n.Err) {
		word = "kicked"
	}
	p.printf("%s %s", word, escape(p.model.Lang.Explain(n.Err)))
}

// escape makes a text fit a line of output.
func escape(text string) string {
	var b strings.Builder
	for _, r := range text {
		switch {
		case r == '\\':
			b.WriteString(`\\`)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteString(`\t`)
		case control(r):
			fmt.Fprintf(&b, `\x%02x`, r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// control reports whether a terminal would obey a character instead of
// showing it.
func control(r rune) bool { return r < 0x20 || (r >= 0x7f && r < 0xa0) }

// escapeName makes a name fit one field.
func escapeName(name string) string { return strings.ReplaceAll(escape(name), " ", `\s`) }

// unescape undoes escapeName as far as names need it.
func unescape(name string) string {
	return strings.NewReplacer(`\s`, " ", `\\`, `\`).Replace(name)
}
