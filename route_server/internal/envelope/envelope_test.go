package envelope

import (
	"bytes"
	"slices"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"teamtalk/internal/wire"
	"teamtalk/pb/basedefine"
	"teamtalk/pb/extension"
	"teamtalk/pb/message"
	"teamtalk/pb/server"
)

func marshal(t interface{ Fatal(...any) }, m proto.Message) []byte {
	b, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// reopened parses the PDU that r makes for other targets.
func reopened(t interface{ Fatalf(string, ...any) }, r *Relay, targets []uint32) *extension.IMRelay {
	frame := r.AppendTo(nil, targets)
	pdu, size, _, err := wire.Next(frame, wire.MaxServerPDU)
	if err != nil || size != len(frame) || pdu.Command != wire.Relay || pdu.Seq != 0 {
		t.Fatalf("frame: %v, size %d of %d, err %v", pdu.Header, size, len(frame), err)
	}
	m := new(extension.IMRelay)
	if err := proto.Unmarshal(pdu.Body, m); err != nil {
		t.Fatalf("forwarded relay: %v", err)
	}
	return m
}

func TestAgainstGeneratedCode(t *testing.T) {
	t.Parallel()
	var r Relay // shared on purpose: storage is used again
	rapid.Check(t, func(t *rapid.T) {
		m := &extension.IMRelay{
			Targets: rapid.SliceOfN(rapid.Uint32(), 0, 40).Draw(t, "targets"),
			Command: proto.Uint32(rapid.Uint32Range(0, 0xffff).Draw(t, "command")),
			Body:    rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "body"),
		}
		if rapid.Bool().Draw(t, "order") {
			m.Order = &extension.Order{
				SessionType: basedefine.SessionType_SESSION_TYPE_GROUP.Enum(),
				First:       proto.Uint32(rapid.Uint32().Draw(t, "first")), MsgId: proto.Uint32(5),
			}
		}
		if rapid.Bool().Draw(t, "unknown") {
			m.ProtoReflect().SetUnknown(protowire.AppendVarint(protowire.AppendTag(nil, 77, protowire.VarintType), 5))
		}
		if err := r.Scan(marshal(t, m)); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(r.Targets, m.GetTargets()) || uint32(r.Command) != m.GetCommand() || !bytes.Equal(r.Body, m.GetBody()) {
			t.Fatalf("scanned %v %v %q, want %v", r.Targets, r.Command, r.Body, m)
		}
		m.Targets = rapid.SliceOfN(rapid.Uint32(), 0, 40).Draw(t, "new targets")
		if got := reopened(t, &r, m.GetTargets()); !proto.Equal(got, m) {
			t.Fatalf("forwarded %v\nwant %v", got, m)
		}
	})
}

func TestOddEncodings(t *testing.T) {
	t.Parallel()
	command := protowire.AppendVarint(protowire.AppendTag(nil, 2, protowire.VarintType), 0x0301)
	body := protowire.AppendBytes(protowire.AppendTag(nil, 3, protowire.BytesType), []byte("letter"))
	unpacked := func(v uint64) []byte {
		return protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), v)
	}
	packed := protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), []byte{8, 9})
	cases := map[string]struct {
		in      []byte
		targets []uint32
		bad     bool
	}{
		"unpacked":             {slices.Concat(unpacked(7), unpacked(8), command, body), []uint32{7, 8}, false},
		"targets in the midst": {slices.Concat(unpacked(7), command, packed, body, unpacked(10)), []uint32{7, 8, 9, 10}, false},
		"targets last":         {slices.Concat(command, body, packed), []uint32{8, 9}, false},
		"no command":           {slices.Concat(packed, body), nil, true},
		"no body":              {slices.Concat(packed, command), nil, true},
		"empty":                {nil, nil, true},
		"cut":                  {slices.Concat(packed, command, body[:4]), nil, true},
		"cut targets": {slices.Concat(protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), []byte{0x80}),
			command, body), nil, true},
		"command over 16 bits": {slices.Concat(protowire.AppendVarint(protowire.AppendTag(nil, 2, protowire.VarintType), 0x10301), body), nil, true},
		"command of bytes":     {slices.Concat(protowire.AppendBytes(protowire.AppendTag(nil, 2, protowire.BytesType), nil), body), nil, true},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var r Relay
			err := r.Scan(c.in)
			if c.bad {
				if err == nil {
					t.Error("Scan took it")
				}
				return
			}
			if err != nil || !slices.Equal(r.Targets, c.targets) || r.Command != wire.MsgData || string(r.Body) != "letter" {
				t.Fatalf("scanned %v %v %q, %v", r.Targets, r.Command, r.Body, err)
			}
			got := reopened(t, &r, []uint32{42})
			want := &extension.IMRelay{Targets: []uint32{42}, Command: proto.Uint32(0x0301), Body: []byte("letter")}
			if !proto.Equal(got, want) {
				t.Errorf("forwarded %v, want %v", got, want)
			}
		})
	}
}

func FuzzScan(f *testing.F) {
	f.Add([]byte("\x10\x81\xac0\x100\x1a\x010")) // two commands, the first one too large
	f.Add(marshal(f, &extension.IMRelay{Targets: []uint32{1, 300}, Command: proto.Uint32(0x0301), Body: []byte("x")}))
	f.Add([]byte{0x08, 1, 0x10, 0x81, 6, 0x1a, 1, 'x', 0x08, 2})
	f.Fuzz(func(t *testing.T, b []byte) {
		var r Relay
		err := r.Scan(b)
		m := new(extension.IMRelay)
		generated := proto.Unmarshal(b, m)
		if generated == nil && m.GetCommand() <= 0xffff && err != nil {
			t.Fatalf("Scan refuses what the generated code takes: %v", err)
		}
		if err != nil || generated != nil {
			return // only the generated code looks into order
		}
		if !slices.Equal(r.Targets, m.GetTargets()) || uint32(r.Command) != m.GetCommand() || !bytes.Equal(r.Body, m.GetBody()) {
			t.Fatalf("scanned %v %v %q, want %v", r.Targets, r.Command, r.Body, m)
		}
		m.Targets = []uint32{5}
		if got := reopened(t, &r, m.GetTargets()); !proto.Equal(got, m) {
			t.Fatalf("forwarded %v\nwant %v", got, m)
		}
	})
}

func TestWithoutAttach(t *testing.T) {
	t.Parallel()
	clean := &message.IMMsgData{
		FromUserId: proto.Uint32(7), ToSessionId: proto.Uint32(9), MsgId: proto.Uint32(3), CreateTime: proto.Uint32(5),
		MsgType: basedefine.MsgType_MSG_TYPE_SINGLE_TEXT.Enum(), MsgData: []byte("text"), ClientMsgId: proto.String("id"),
	}
	b := marshal(t, clean)
	got, err := WithoutAttach(b)
	if err != nil || &got[0] != &b[0] || len(got) != len(b) {
		t.Errorf("a body without attach_data is copied (%v)", err)
	}
	dirty := proto.Clone(clean).(*message.IMMsgData)
	dirty.AttachData = []byte("handle")
	got, err = WithoutAttach(marshal(t, dirty))
	if err != nil || !bytes.Equal(got, b) {
		t.Errorf("WithoutAttach = %x, %v; want %x", got, err, b)
	}
	if _, err := WithoutAttach([]byte{0xff}); err == nil {
		t.Error("no error for broken bytes")
	}
	if got, err := WithoutAttach(nil); err != nil || len(got) != 0 {
		t.Errorf("WithoutAttach of nothing = %x, %v", got, err)
	}
}

func TestOriginal(t *testing.T) {
	t.Parallel()
	clean := marshal(t, &server.IMServerKickUser{
		UserId: proto.Uint32(7), ClientType: basedefine.ClientType_CLIENT_TYPE_MAC.Enum(), Reason: proto.Uint32(1),
	})
	if got := Original(clean); &got[0] != &clean[0] || len(got) != len(clean) {
		t.Error("a body without fields of ours is copied")
	}
	ours := marshal(t, &server.IMServerKickUser{
		UserId: proto.Uint32(7), ClientType: basedefine.ClientType_CLIENT_TYPE_MAC.Enum(), Reason: proto.Uint32(1),
		LoginMs: proto.Uint64(1), ServerId: proto.String("s"),
	})
	if got := Original(ours); !bytes.Equal(got, clean) {
		t.Errorf("Original = %x, want %x", got, clean)
	}
	if got := Original([]byte{0xff}); !bytes.Equal(got, []byte{0xff}) {
		t.Errorf("what is no protobuf message becomes %x", got)
	}
}

func TestScanDoesNotAllocate(t *testing.T) {
	b := marshal(t, &extension.IMRelay{Targets: make([]uint32, 1000), Command: proto.Uint32(0x0301), Body: make([]byte, 200)})
	var r Relay
	frame := make([]byte, 0, 4096)
	if allocs := testing.AllocsPerRun(20, func() {
		if err := r.Scan(b); err != nil {
			t.Fatal(err)
		}
		frame = r.AppendTo(frame[:0], r.Targets[:300])
	}); allocs != 0 {
		t.Errorf("%v allocations, want 0", allocs)
	}
}
