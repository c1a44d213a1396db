//go:build unix

package e2e

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	"teamtalk/client"
	"teamtalk/internal/im"
)

// A voice message arrives as it was sent, and history has it; once its sound is
// lost, history still has everything else.
func TestVoiceMessages(t *testing.T) {
	t.Parallel()
	e := serve(t)
	ids, err := e.CreateUsers(t.Context(), []string{"alice", "bob"})
	if err != nil {
		t.Fatal(err)
	}
	heard := make(chan *client.Message, 4)
	alice, bob := e.dial(t, "alice", nil), e.dial(t, "bob", func(_ *client.Client, event client.Event) {
		if m, ok := event.(*client.Message); ok {
			heard <- m.Clone()
		}
	})
	sound := append([]byte{0, 0, 0, 7}, bytes.Repeat([]byte("speex"), 20_000)...)
	send := func(kind im.MsgType, data []byte) error {
		_, err := alice.Send(t.Context(), &client.Message{To: uint32(ids[1]), Type: kind, Data: data})
		return err
	}
	if err := send(im.SingleAudio, sound); err != nil {
		t.Fatal(err)
	}
	if _, err := alice.SendText(t.Context(), im.Single, uint32(ids[1]), "and a text"); err != nil {
		t.Fatal(err)
	}
	for _, bad := range [][]byte{{0, 0, 0, 7}, make([]byte, im.MaxVoice+1)} {
		if err := send(im.SingleAudio, bad); err == nil {
			t.Errorf("a voice message of %d bytes was taken", len(bad))
		}
	}
	select {
	case m := <-heard:
		if seconds, got, ok := m.Audio(); !ok || seconds != 7 || !bytes.Equal(got, sound[4:]) {
			t.Errorf("bob hears %d s, %d bytes: id %d, type %d, %d bytes", seconds, len(got), m.ID, m.Type, len(m.Data))
		}
	case <-time.After(20 * time.Second):
		t.Fatal("bob hears nothing")
	}
	page, err := bob.History(t.Context(), im.Single, uint32(ids[0]), 0, 10)
	if err != nil || len(page) != 2 || page[0].Text() != "and a text" || !bytes.Equal(page[1].Data, sound) {
		t.Fatalf("history: %d messages, %v", len(page), err)
	}

	blobs, err := filepath.Glob(filepath.Join(e.data, "files", "store", "blob", "*", "*"))
	if err != nil || len(blobs) != 1 {
		t.Fatalf("%v, %v", blobs, err)
	}
	if err := os.Remove(blobs[0]); err != nil {
		t.Fatal(err)
	}
	page, err = bob.History(t.Context(), im.Single, uint32(ids[0]), 0, 10)
	if err != nil || len(page) != 2 || page[0].Text() != "and a text" || string(page[1].Data) != "1" {
		t.Fatalf("history without the sound: %d messages, %v", len(page), err)
	}
}
