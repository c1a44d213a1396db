package pdubody

import (
	"bytes"
	"slices"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"teamtalk/pb/basedefine"
	"teamtalk/pb/buddy"
	"teamtalk/pb/file"
	"teamtalk/pb/group"
	"teamtalk/pb/login"
	"teamtalk/pb/message"
	"teamtalk/pb/server"
)

func encode(t *testing.T, m proto.Message) []byte {
	t.Helper()
	b, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// appendAttach appends attach_data to a body, whether it has some or not.
func appendAttach(body, attach []byte) []byte {
	body = protowire.AppendTag(body, attachField, protowire.BytesType)
	return protowire.AppendBytes(body, attach)
}

func TestTakeAttach(t *testing.T) {
	t.Parallel()
	with := &group.IMNormalGroupListReq{UserId: proto.Uint32(7), AttachData: []byte("mine")}
	without := encode(t, &group.IMNormalGroupListReq{UserId: proto.Uint32(7)})
	extended := encode(t, &server.IMValidateReq{
		UserName: proto.String("a"), Password: proto.String("b"), AttachData: []byte("mine"), ClientAddr: proto.String("c"),
	})
	cases := map[string]struct{ body, attach, rest []byte }{
		"last":    {encode(t, with), []byte("mine"), without},
		"none":    {without, nil, without},
		"nothing": {nil, nil, nil},
		"twice":   {appendAttach(encode(t, with), []byte("other")), []byte("other"), without},
		"middle": {extended, []byte("mine"), encode(t, &server.IMValidateReq{
			UserName: proto.String("a"), Password: proto.String("b"), ClientAddr: proto.String("c"),
		})},
	}
	for name, c := range cases {
		before := slices.Clone(c.body)
		attach, rest, ok := TakeAttach(c.body)
		if !ok || !bytes.Equal(attach, c.attach) || !bytes.Equal(rest, c.rest) {
			t.Errorf("%s: %q, %x, %v; want %q, %x", name, attach, rest, ok, c.attach, c.rest)
		}
		if !bytes.Equal(before, c.body) {
			t.Errorf("%s: the body was changed", name)
		}
	}
	if _, _, ok := TakeAttach([]byte{0xff, 0xff}); ok {
		t.Error("garbage was taken for a body")
	}
	if attach, rest, _ := TakeAttach(appendAttach(slices.Clone(without), []byte("x"))); string(attach) != "x" || !bytes.Equal(rest, without) {
		t.Errorf("round trip: %q, %x", attach, rest)
	}
}

func TestSplit(t *testing.T) {
	t.Parallel()
	list := &buddy.IMUsersStatReq{UserId: proto.Uint32(7)}
	for i := range uint32(1000) {
		list.UserIdList = append(list.UserIdList, 1_000_000+i)
	}
	parts, ok := Split(encode(t, list), 2, 300)
	if !ok || len(parts) < 2 {
		t.Fatalf("%d parts, %v", len(parts), ok)
	}
	var all []uint32
	for _, part := range parts {
		if len(part) > 300 {
			t.Errorf("part of %d bytes", len(part))
		}
		m := new(buddy.IMUsersStatReq)
		if err := proto.Unmarshal(part, m); err != nil || m.GetUserId() != 7 {
			t.Fatal(m.GetUserId(), err)
		}
		all = append(all, m.GetUserIdList()...)
	}
	if !slices.Equal(all, list.GetUserIdList()) {
		t.Errorf("%d entries after splitting, want %d in order", len(all), len(list.GetUserIdList()))
	}
	if parts, ok := Split(encode(t, &buddy.IMUsersStatReq{UserId: proto.Uint32(7)}), 2, 300); !ok || len(parts) != 1 {
		t.Errorf("an empty list gives %d parts", len(parts))
	}
}

// The field number stands in one place because it is the same everywhere.
func TestAttachFieldOfAllMessages(t *testing.T) {
	t.Parallel()
	found := 0
	for _, definitions := range []protoreflect.FileDescriptor{
		buddy.File_IM_Buddy_proto, group.File_IM_Group_proto, server.File_IM_Server_proto,
		login.File_IM_Login_proto, message.File_IM_Message_proto, file.File_IM_File_proto,
	} {
		for i := range definitions.Messages().Len() {
			m := definitions.Messages().Get(i)
			named, numbered := m.Fields().ByName("attach_data"), m.Fields().ByNumber(attachField)
			if named != numbered {
				t.Errorf("%s: attach_data is not field %d", m.FullName(), attachField)
			}
			if named != nil {
				found++
			}
		}
	}
	if found < 40 {
		t.Errorf("only %d messages with attach_data looked at", found)
	}
}

// An entry that is too long alone is left out, and the rest stays.
func TestSplitLeavesOutWhatFitsNowhere(t *testing.T) {
	t.Parallel()
	list := &buddy.IMUsersStatRsp{UserId: proto.Uint32(7)}
	messages := &message.IMGetMsgListRsp{
		UserId: proto.Uint32(7), SessionType: basedefine.SessionType_SESSION_TYPE_SINGLE.Enum(),
		SessionId: proto.Uint32(9), MsgIdBegin: proto.Uint32(0),
	}
	for id, size := range []int{50, 500, 50, 50} {
		messages.MsgList = append(messages.MsgList, &basedefine.MsgInfo{
			MsgId: proto.Uint32(uint32(id)), FromSessionId: proto.Uint32(9), CreateTime: proto.Uint32(1),
			MsgType: basedefine.MsgType_MSG_TYPE_SINGLE_TEXT.Enum(), MsgData: make([]byte, size),
		})
	}
	parts, ok := Split(encode(t, messages), 5, 150)
	var ids []uint32
	for _, part := range parts {
		m := new(message.IMGetMsgListRsp)
		if err := proto.Unmarshal(part, m); err != nil || m.GetSessionId() != 9 || len(part) > 150 {
			t.Fatalf("part of %d bytes: %v, %v", len(part), m, err)
		}
		for _, info := range m.GetMsgList() {
			ids = append(ids, info.GetMsgId())
		}
	}
	if !ok || !slices.Equal(ids, []uint32{0, 2, 3}) {
		t.Errorf("messages %v in %d parts, %v", ids, len(parts), ok)
	}
	if _, ok := Split(encode(t, list)[:1], 2, 10); ok {
		t.Error("a truncated body was split")
	}
}

func FuzzTakeAttach(f *testing.F) {
	f.Add([]byte{0xa2, 0x01, 0x01, 'x'})
	f.Fuzz(func(t *testing.T, body []byte) {
		_, rest, ok := TakeAttach(body)
		if ok && len(rest) > len(body) {
			t.Fatal("the rest is longer than the body")
		}
		_, _ = Split(body, 2, 100)
	})
}
