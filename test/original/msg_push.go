package main

import (
	"crypto/aes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"strings"
)

// This file is what an original msg_server does with phones, its faults
// included: a message is pushed by every msg_server that has it, to phones that
// are connected, too. Source: docs/protocol/flows.md §15.

// attachPush is the kind of attach_data with the body of a 070F.
const attachPush = 4

// pushTokens goes on once the tokens are known, 0706: the message that all is
// about came back in attach_data.
func (s *msgServer) pushTokens(q *question, m *message) {
	s.checkTokens(m)
	sent, err := decode("IMMsgData", []byte(q.attach))
	if err != nil {
		violate("attach_data of 0706: %v", err)
	}
	plain, ok := s.decrypt(sent.text("msg_data"))
	if !ok || len(s.pushers) == 0 {
		return
	}
	line := "您收到了一条消息"
	if local := s.users[sent.num("from_user_id")]; len(local) > 0 && !strings.Contains(plain, "&$#@~^@[{:") {
		line = local[0].nick + ":" + plain
	}
	if len(line) > 37 {
		line = line[:37] + "..." // within a character, if need be
	}
	data := map[string]uint32{"msg_type": sent.num("msg_type"), "from_id": sent.num("from_user_id")}
	if sent.num("msg_type") >= 0x10 {
		data["group_id"] = sent.num("to_session_id")
	}
	text, err := json.Marshal(data)
	if err != nil {
		fatal("%v", err)
	}
	var here []*message
	for _, token := range m.subs("user_token_info") {
		user := token.num("user_id")
		if user == sent.num("from_user_id") {
			continue
		}
		if len(s.users[user]) > 0 {
			if s.pcStatus(user) == 1 {
				token.set("push_type", 2)
			}
			here = append(here, token)
			continue
		}
		if len(s.routes) == 0 {
			continue
		}
		one := build("IMPushToUserReq", "flash", line, "data", string(text), "user_token_list", []*message{token})
		attach := []byte(longAttach(0, one.encode()))
		binary.BigEndian.PutUint32(attach, attachPush)
		s.ask(s.routes[0], newPDU(0x020A, 0, nil), build("IMUsersStatReq", "user_id", 0, "user_id_list", []uint32{user},
			"attach_data", string(attach)), &question{command: 0x020B})
	}
	if len(here) > 0 {
		s.pushers[len(s.pushers)-1].say(0x070F, 0, build("IMPushToUserReq", "flash", line, "data", string(text), "user_token_list", here))
	}
}

// pushStatus sends a push once a route_server has said whether the user's PC
// is on.
func (s *msgServer) pushStatus(q *question, m *message) {
	req := innerOf("IMPushToUserReq", q.attach)
	if m.subs("user_stat_list")[0].num("status") == 1 {
		req.subs("user_token_list")[0].set("push_type", 2)
	}
	if len(s.pushers) > 0 {
		s.pushers[len(s.pushers)-1].say(0x070F, 0, req)
	}
}

// pushGot takes 0710, which the original only logs.
func (s *msgServer) pushGot(l *link, p pdu, m *message) {
	for _, r := range m.subs("push_result_list") {
		if r.text("user_token") == "" {
			violate("%s: %v", l.what, m)
		}
	}
}

// decrypt reads a text. Source: docs/protocol/wire.md §5.
func (s *msgServer) decrypt(data string) (plain string, ok bool) {
	raw, err := base64.StdEncoding.DecodeString(data)
	block, keyErr := aes.NewCipher([]byte(s.conf.need("aesKey")))
	if err != nil || keyErr != nil || len(raw) == 0 || len(raw)%aes.BlockSize != 0 {
		return "", false
	}
	for at := 0; at < len(raw); at += aes.BlockSize {
		block.Decrypt(raw[at:at+aes.BlockSize], raw[at:at+aes.BlockSize])
	}
	n := binary.BigEndian.Uint32(raw[len(raw)-4:])
	if int64(n) > int64(len(raw)-4) {
		return "", false
	}
	return string(raw[:n]), true
}
