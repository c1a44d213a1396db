package wire

import (
	"bytes"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"teamtalk/pb/basedefine"
	"teamtalk/pb/login"
	"teamtalk/pb/message"
)

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The bytes of docs/protocol/wire.md §9.
const (
	goldenHeartbeat   = "00000010 0001 0000 0007 0701 0005 0000"
	goldenLoginHeader = "00000042 0006 0000 0001 0103 0001 0030"
	goldenLoginBody   = "0a05616c696365 12206363303365373437613661666262636266386265373636386163666562656535 1801 2012 2a03312e30"
	goldenMsgBody     = "0807 1009 1800 2080e2cfaa06 2801 3218 6e6e5a5342776650437a363071363964646d66494a413d3d"
	goldenAckBody     = "0807 1009 182a 2001"
)

func TestGoldenFrames(t *testing.T) {
	t.Parallel()
	heartbeat := AppendHeader(nil, Heartbeat, 5, 0, 0)
	if want := unhex(t, goldenHeartbeat); !bytes.Equal(heartbeat, want) {
		t.Errorf("heartbeat = %x, want %x", heartbeat, want)
	}

	stream := append(unhex(t, goldenLoginHeader), unhex(t, goldenLoginBody)...)
	pdu, size, _, err := Next(stream, MaxClientPDU)
	if err != nil || size != len(stream) {
		t.Fatalf("Next = size %d, err %v; want %d", size, err, len(stream))
	}
	want := Header{Length: 66, Version: 6, Service: 1, Command: LoginReq, Seq: 1, Reserved: 0x30}
	if pdu.Header != want {
		t.Errorf("header = %+v, want %+v", pdu.Header, want)
	}
}

func TestGoldenBodies(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		want string
		m    proto.Message
	}{
		"login": {goldenLoginBody, &login.IMLoginReq{
			UserName: proto.String("alice"), Password: proto.String("cc03e747a6afbbcbf8be7668acfebee5"),
			OnlineStatus: basedefine.UserStatType_USER_STATUS_ONLINE.Enum(),
			ClientType:   basedefine.ClientType_CLIENT_TYPE_ANDROID.Enum(), ClientVersion: proto.String("1.0"),
		}},
		"message": {goldenMsgBody, &message.IMMsgData{
			FromUserId: proto.Uint32(7), ToSessionId: proto.Uint32(9), MsgId: proto.Uint32(0),
			CreateTime: proto.Uint32(1_700_000_000), MsgType: basedefine.MsgType_MSG_TYPE_SINGLE_TEXT.Enum(),
			MsgData: []byte("nnZSBwfPCz60q69ddmfIJA=="),
		}},
		"ack": {goldenAckBody, &message.IMMsgDataAck{
			UserId: proto.Uint32(7), SessionId: proto.Uint32(9), MsgId: proto.Uint32(42),
			SessionType: basedefine.SessionType_SESSION_TYPE_SINGLE.Enum(),
		}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			frame, err := AppendMessage(nil, MsgData, 0, c.m)
			if err != nil {
				t.Fatal(err)
			}
			if want := unhex(t, c.want); !bytes.Equal(frame[HeaderSize:], want) {
				t.Errorf("body = %x\nwant   %x", frame[HeaderSize:], want)
			}
		})
	}
}

func TestNextRefusesAndWaits(t *testing.T) {
	t.Parallel()
	whole := Append(nil, MsgData, 7, []byte("body"))
	cases := map[string]struct {
		buf  []byte
		need int
		err  error
	}{
		"nothing":        {nil, HeaderSize, nil},
		"half a header":  {whole[:9], HeaderSize, nil},
		"half a body":    {whole[:18], 20, nil},
		"length 0":       {AppendHeader(nil, MsgData, 0, 0, -16), 0, ErrLength},
		"length 15":      {AppendHeader(nil, MsgData, 0, 0, -1), 0, ErrLength},
		"over the limit": {AppendHeader(nil, MsgData, 0, 0, 1<<20), 0, ErrTooLarge},
		"4 GiB":          {unhex(t, "ffffffff 0001 0000 0003 0301 0000 0000"), 0, ErrTooLarge},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, size, need, err := Next(c.buf, MaxClientPDU)
			if size != 0 || need != c.need || !errors.Is(err, c.err) {
				t.Errorf("Next = size %d, need %d, err %v; want 0, %d, %v", size, need, err, c.need, c.err)
			}
		})
	}
}

func TestAppendMessageRefusesMissingFields(t *testing.T) {
	t.Parallel()
	dst := []byte("kept")
	out, err := AppendMessage(dst, MsgDataAck, 1, &message.IMMsgDataAck{})
	if err == nil || string(out) != "kept" {
		t.Errorf("AppendMessage = %q, %v; want dst unchanged and an error", out, err)
	}
}

func TestServiceIsHighByte(t *testing.T) {
	t.Parallel()
	for _, c := range Commands() {
		if s := c.Service(); s < 1 || s > 7 {
			t.Errorf("%v: service %d", c, s)
		}
	}
}

func TestFramingDoesNotAllocate(t *testing.T) {
	stream := Append(nil, MsgData, 7, make([]byte, 100))
	out := make([]byte, 0, 256)
	body := make([]byte, 100)
	allocs := testing.AllocsPerRun(100, func() {
		if _, size, _, err := Next(stream, MaxClientPDU); err != nil || size == 0 {
			t.Fatal(size, err)
		}
		out = Append(out[:0], MsgData, 7, body)
	})
	if allocs != 0 {
		t.Errorf("%v allocations per frame, want 0", allocs)
	}
}

func FuzzNext(f *testing.F) {
	f.Add(Append(nil, MsgData, 1, []byte("hello")))
	f.Add(AppendHeartbeat(nil, Mark))
	f.Add([]byte{0, 0, 0, 3})
	f.Fuzz(func(t *testing.T, stream []byte) {
		const limit = 1 << 16
		rest := stream
		for {
			pdu, size, need, err := Next(rest, limit)
			if err != nil {
				return
			}
			if size == 0 {
				if need <= len(rest) || need > limit {
					t.Fatalf("need %d with %d bytes at hand", need, len(rest))
				}
				return
			}
			if size != HeaderSize+len(pdu.Body) || size != int(pdu.Length) {
				t.Fatalf("size %d, length %d, body %d", size, pdu.Length, len(pdu.Body))
			}
			again := Append(nil, pdu.Command, pdu.Seq, pdu.Body)
			back, n, _, err := Next(again, limit)
			if err != nil || n != size || !bytes.Equal(back.Body, pdu.Body) {
				t.Fatalf("round trip: %d bytes, err %v", n, err)
			}
			rest = rest[size:]
		}
	})
}

func BenchmarkNext(b *testing.B) {
	stream := Append(nil, MsgData, 7, make([]byte, 100))
	b.ReportAllocs()
	for b.Loop() {
		if _, size, _, _ := Next(stream, MaxClientPDU); size == 0 {
			b.Fatal("no frame")
		}
	}
}
