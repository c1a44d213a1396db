package pdubody

import (
	"bytes"
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"

	"teamtalk/pb/buddy"
	"teamtalk/pb/group"
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
	if attach, rest, _ := TakeAttach(AppendAttach(slices.Clone(without), []byte("x"))); string(attach) != "x" || !bytes.Equal(rest, without) {
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
