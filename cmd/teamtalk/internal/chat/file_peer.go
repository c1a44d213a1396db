package chat

import (
	"fmt"

	"teamtalk/client"
	"teamtalk/cmd/teamtalk/internal/words"
	"teamtalk/internal/im"
	"teamtalk/internal/share"
)

// What the other side does with files.
type (
	// PeerFile tells how far a file is that somebody sends, or fetches from us.
	PeerFile struct {
		Key
		FileID  string
		Name    string
		User    im.UserID
		Fetches bool
		Moved   uint64
		Size    uint64
	}
	// FileArrived says that all of a file has arrived, and its message.
	FileArrived struct{ PeerFile }
	// PeerFileNotice tells what a PeerFile does; Ready: it is there.
	PeerFileNotice struct {
		PeerFile
		Ready bool
	}
)

func (PeerFile) event()        {}
func (FileArrived) event()     {}
func (PeerFileNotice) notice() {}

// peerFile remembers which file is on its way: GetFile takes that one.
func (m *Model) peerFile(e PeerFile) {
	if !e.Fetches {
		m.coming[e.Key] = e.FileID
	}
	m.ask(e.User)
	m.say(PeerFileNotice{PeerFile: e})
}

func (m *Model) fileArrived(e FileArrived) {
	if m.coming[e.Key] == e.FileID {
		delete(m.coming, e.Key)
	}
	if e.User != m.Me {
		m.ask(e.User)
		m.say(PeerFileNotice{e.PeerFile, true})
	}
}

// pushedFile translates what the server says of files.
func (l *Link) pushedFile(me im.UserID, e client.Event) {
	switch e := e.(type) {
	case *client.FileReady:
		l.post(FileArrived{PeerFile{
			Key: fileKey(me, e.Kind, e.From, e.To), FileID: e.ID, Name: e.Name, User: e.From, Moved: e.Size, Size: e.Size,
		}})
	case *client.FileMoved:
		p := PeerFile{
			Key: fileKey(me, e.Kind, e.From, e.To), FileID: e.ID, Name: e.Name, User: e.From,
			Fetches: e.By != 0, Moved: e.Moved, Size: e.Size,
		}
		if p.Fetches {
			p.User = e.By
		}
		l.post(p)
	}
}

func fileKey(me im.UserID, kind im.Kind, from im.UserID, to uint32) Key {
	if kind == im.Single && from != me {
		return Key{kind, uint32(from)}
	}
	return Key{kind, to}
}

// describe says in a few words what somebody does with a file.
func (n PeerFileNotice) describe(l words.Lang, user string) string {
	far := l.Say(words.FarOf, percent(n.Moved, n.Size), share.Bytes(n.Size))
	switch {
	case n.Ready:
		return l.Say(words.PeerSent, user, n.Name, share.Bytes(n.Size))
	case !n.Fetches:
		return l.Say(words.PeerSending, user, n.Name, far)
	case n.Moved == n.Size:
		return l.Say(words.PeerHas, user, n.Name)
	}
	return l.Say(words.PeerFetching, user, n.Name, far)
}

// line is the notice as the plain view prints it.
func (n PeerFileNotice) line(where string) string {
	switch {
	case n.Ready:
		return fmt.Sprintf("file-ready %s %s %s", where, n.FileID, escape(n.Name))
	case !n.Fetches:
		return fmt.Sprintf("file-coming %s %d%% %s %s", where, percent(n.Moved, n.Size), n.FileID, escape(n.Name))
	case n.Moved == n.Size:
		return fmt.Sprintf("file-fetched %s %s %s", where, n.FileID, escape(n.Name))
	}
	return fmt.Sprintf("file-fetching %s %d%% %s %s", where, percent(n.Moved, n.Size), n.FileID, escape(n.Name))
}
