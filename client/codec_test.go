package client

import (
	"bytes"
	"testing"

	"google.golang.org/protobuf/proto"

	"teamtalk/internal/im"
	"teamtalk/pb/basedefine"
	"teamtalk/pb/extension"
	"teamtalk/pb/message"
)

// TestCodec compares the hand-written codec with the generated one.
func TestCodec(t *testing.T) {
	t.Parallel()
	for _, clientMsgID := range []string{"", "01890a5d-ac96-774b-bcce-b302099a8057"} {
		want := &message.IMMsgData{
			FromUserId: proto.Uint32(7), ToSessionId: proto.Uint32(9), MsgId: proto.Uint32(89_999_999),
			CreateTime: proto.Uint32(1_700_000_000), MsgType: basedefine.MsgType_MSG_TYPE_GROUP_AUDIO.Enum(),
			MsgData: []byte("nnZSBwfPCz60q69ddmfIJA=="),
		}
		if clientMsgID != "" {
			want.ClientMsgId = proto.String(clientMsgID)
		}
		m := Message{
			From: 7, To: 9, ID: 89_999_999, Created: 1_700_000_000, Type: im.GroupAudio,
			Data: want.GetMsgData(), ClientMsgID: clientMsgID,
		}
		body, err := proto.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		if got := appendMsgData(nil, &m); !bytes.Equal(got, body) {
			t.Errorf("encoded %x, want %x", got, body)
		}
		var got Message
		if err := parseMsgData(body, &got); err != nil || got.Text() != m.Text() || got.From != m.From ||
			got.To != m.To || got.ID != m.ID || got.Created != m.Created || got.Type != m.Type ||
			got.ClientMsgID != clientMsgID {
			t.Errorf("decoded %+v, %v", got, err)
		}
		for cut := range body {
			var part message.IMMsgData
			theirs := proto.Unmarshal(body[:cut], &part)
			if ours := parseMsgData(body[:cut], &Message{}); (ours == nil) != (theirs == nil) {
				t.Errorf("%d bytes: error %v, generated code %v", cut, ours, theirs)
			}
		}
	}
}

func TestCodecAck(t *testing.T) {
	t.Parallel()
	body, err := proto.Marshal(&message.IMMsgDataAck{
		UserId: proto.Uint32(7), SessionId: proto.Uint32(9), MsgId: proto.Uint32(42),
		SessionType: basedefine.SessionType_SESSION_TYPE_SINGLE.Enum(), ClientMsgId: proto.String("x"),
	})
	if err != nil {
		t.Fatal(err)
	}
	if id, err := parseAck(body, 9); id != 42 || err != nil {
		t.Errorf("id %d, %v, want 42", id, err)
	}
	if _, err := parseAck(body, 8); err == nil {
		t.Error("accepted an acknowledgement for another session")
	}
	if _, err := parseAck(appendAck(nil, 7, 9, 0, im.Single), 9); err == nil {
		t.Error("accepted the id 0")
	}
	if _, err := parseAck(body[:4], 9); err == nil {
		t.Error("accepted an acknowledgement without an id")
	}
	if got := appendAck(nil, 7, 9, 42, im.Single); !bytes.Equal(got, body[:len(got)]) {
		t.Errorf("encoded %x, want the start of %x", got, body)
	}
}

func TestCodecDelivered(t *testing.T) {
	t.Parallel()
	want, err := proto.Marshal(&extension.IMMsgDelivered{
		SessionId: proto.Uint32(300), SessionType: basedefine.SessionType_SESSION_TYPE_GROUP.Enum(),
		MsgId: proto.Uint32(5),
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := appendDelivered(nil, conversationKey{im.Group, 300}, 5); !bytes.Equal(got, want) {
		t.Errorf("encoded %x, want %x", got, want)
	}
}

func TestText(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		kind im.MsgType
		data string
		want string
	}{
		"encrypted":           {im.SingleText, "nnZSBwfPCz60q69ddmfIJA==", "hello"},
		"plain":               {im.SingleText, "not encrypted", "not encrypted"},
		"bytes":               {im.SingleText, "\xff\xfe", ""},
		"voice in a list":     {im.GroupAudio, "QhGXlpFjvMFUNrtl1aaPzA==", "[语音]"},
		"voice in a message":  {im.SingleAudio, "\x00\x00\x00\x05OggS", ""},
		"nothing":             {im.SingleText, "", ""},
		"unreadable, as text": {im.GroupText, "8+lyaGSNdKxdsEEADyYxv===", "8+lyaGSNdKxdsEEADyYxv==="},
	} {
		if got := Text(tc.kind, []byte(tc.data)); got != tc.want {
			t.Errorf("%s: %q, want %q", name, got, tc.want)
		}
	}
	m := Message{Type: im.SingleAudio, Data: []byte("\x00\x00\x00\x05OggS")}
	if seconds, sound, ok := m.Audio(); seconds != 5 || string(sound) != "OggS" || !ok {
		t.Errorf("audio of %d s: %q, %v", seconds, sound, ok)
	}
}

func TestClientMsgID(t *testing.T) {
	t.Parallel()
	last := ""
	for range 100 {
		id := NewClientMsgID()
		if len(id) != 36 || id[14] != '7' || id == last {
			t.Fatalf("client_msg_id %q after %q", id, last)
		}
		last = id
	}
}

// TestSeq: a counter wraps inside its range and never takes a number that is
// waited for.
func TestSeq(t *testing.T) {
	t.Parallel()
	c := &Client{opts: Options{Profile: Android()}.withDefaults(), pending: map[uint16]pending{}}
	c.pending[2], c.pending[32766] = pending{}, pending{}
	seen := map[uint16]int{}
	for range 2 * (32766 - 2) {
		seen[c.nextSeq(0x0301)]++
	}
	if seen[0] != 0 || seen[2] != 0 || seen[32766] != 0 || len(seen) != 32766-2 {
		t.Errorf("%d different numbers; 0: %d, 2: %d", len(seen), seen[0], seen[2])
	}
	for seq, times := range seen {
		if times != 2 {
			t.Fatalf("seq %d was used %d times, want 2", seq, times)
		}
	}
}
