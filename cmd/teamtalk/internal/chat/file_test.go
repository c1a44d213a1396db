package chat

import (
	"slices"
	"testing"

	"teamtalk/client"
	"teamtalk/cmd/teamtalk/internal/words"
	"teamtalk/internal/im"
)

// What the other side does with files is told, and what is on its way is what
// GetFile takes, until it is an old one.
func TestPeerFiles(t *testing.T) {
	t.Parallel()
	events := make(chan Event, 1)
	link := &Link{events: events, done: make(chan struct{})}
	d := drive(t, Synced{})
	d.told = nil
	push := func(e client.Event) {
		link.pushedFile(meID, e)
		d.do(<-events)
	}
	fetches := func() (id string) {
		d.effects = nil
		d.do(GetFile{Key: bob})
		for _, e := range d.effects {
			if f, ok := e.(DoFile); ok {
				id = f.FileID
			}
		}
		return id
	}
	moved := client.FileMoved{ID: "x", From: bobID, Kind: im.Single, To: uint32(meID), Name: "a b", Size: 4096, Moved: 1024}
	if got := fetches(); got != "" {
		t.Errorf("fetches %q", got)
	}
	push(&moved)
	if got := fetches(); got != "x" {
		t.Errorf("fetches %q", got)
	}
	push(&client.FileReady{ID: "x", From: bobID, Kind: im.Single, To: uint32(meID), Name: "a b"})
	push(&client.FileReady{ID: "mine", From: meID, Kind: im.Single, To: uint32(bobID)})
	if got := fetches(); got != "" {
		t.Errorf("fetches %q", got)
	}
	mine := client.FileMoved{ID: "y", From: meID, Kind: im.Group, To: 7, By: bobID, Name: "c", Size: 100, Moved: 99}
	push(&mine)
	mine.Moved = 100
	push(&mine)
	want := []string{"file-coming bob 25% x a b", "file-ready bob x a b", "file-fetching #everyone/bob 99% y c", "file-fetched #everyone/bob y c"}
	if !slices.Equal(d.told, want) {
		t.Errorf("told %q, want %q", d.told, want)
	}
	if got := (PeerFileNotice{PeerFile: PeerFile{Name: "a", Moved: 1 << 29, Size: 1 << 31}}).describe(words.English, "Bob"); got !=
		"Bob is sending a: 25 % of 2.0 GiB; :get fetches it as soon as it is there" {
		t.Errorf("%q", got)
	}
}
