package httpserver

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strconv"
	"strings"

	"google.golang.org/protobuf/proto"

	"teamtalk/http_msg_server/internal/audit"
	"teamtalk/internal/im"
	"teamtalk/internal/wire"
	"teamtalk/pb/basedefine"
	"teamtalk/pb/group"
)

// What the original answers. Source: docs/protocol/flows.md §18.
type queryAnswer struct {
	Code int    `json:"error_code"`
	Msg  string `json:"error_msg"`
}

type createAnswer struct {
	queryAnswer

	GroupID uint32 `json:"group_id"`
}

// The results of the original. They must not be changed: callers read them.
func queryOK() queryAnswer           { return queryAnswer{0, "成功"} }
func queryBadParameter() queryAnswer { return queryAnswer{1, "参数错误"} }
func queryNoServer() queryAnswer     { return queryAnswer{10, "服务器异常"} }
func queryNotCreated() queryAnswer   { return queryAnswer{11, "创建群失败"} }
func queryNotChanged() queryAnswer   { return queryAnswer{12, "更改群成员失败"} }

// queryKey stands for the key in the audit of what was changed without one.
const queryKey = "query"

// query answers the two requests of the original: one per connection, and
// what it does not know is closed without an answer. It knows no keys, so it
// listens to configured addresses only. Source: docs/protocol/flows.md §18;
// docs/protocol/defects.md D12.
func (s *Server) query(w http.ResponseWriter, r *http.Request) {
	var do func(context.Context, map[string]json.RawMessage) (answer any, subject string)
	switch r.URL.Path {
	case "/query/CreateGroup":
		do = s.queryCreateGroup
	case "/query/ChangeMembers":
		do = s.queryChangeMembers
	}
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if do == nil || r.Method != http.MethodPost || err != nil || !s.cfg.QueryPeers.Allow(peer.Addr()) {
		s.hangUp(w)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, int64(s.cfg.MaxBodyBytes)))
	var members map[string]json.RawMessage
	if err != nil || json.Unmarshal(body, &members) != nil || members == nil {
		s.hangUp(w)
		return
	}
	answer, subject := any(queryBadParameter()), ""
	if s.appKeyHolds(members) {
		answer, subject = do(r.Context(), members)
	} else if r.URL.Path == "/query/CreateGroup" {
		answer = createAnswer{queryAnswer: queryBadParameter()}
	}
	if subject != "" {
		s.audit.Add(r.Context(), audit.Entry{
			At: s.clock(), KeyID: queryKey, Action: strings.TrimPrefix(r.URL.Path, "/"), Subject: subject,
			RequestID: rand.Text(), Remote: peer.Addr().Unmap().String(), Status: http.StatusOK,
		})
	}
	text, err := json.Marshal(answer)
	if err != nil {
		s.hangUp(w)
		return
	}
	w.Header().Set("Content-Type", "text/html;charset=utf-8")
	w.Header().Set("Content-Length", strconv.Itoa(len(text)))
	w.Header().Set("Connection", "close")
	_, _ = w.Write(text) // whoever asked may have gone
	s.metrics.requests.WithLabelValues("query", "200").Inc()
}

// hangUp closes the connection without an answer.
func (s *Server) hangUp(w http.ResponseWriter) {
	s.metrics.requests.WithLabelValues("query", "closed").Inc()
	if h, ok := w.(http.Hijacker); ok {
		if conn, _, err := h.Hijack(); err == nil {
			_ = conn.Close()
			return
		}
	}
	panic(http.ErrAbortHandler) //nolint:forbidigo // how net/http is told to close
}

// appKeyHolds reports whether app_key is what the configuration asks for.
func (s *Server) appKeyHolds(members map[string]json.RawMessage) bool {
	want := s.cfg.QueryAppKey.Reveal()
	if want == "" {
		return true
	}
	var got string
	return json.Unmarshal(members["app_key"], &got) == nil &&
		subtle.ConstantTimeCompare([]byte(got), []byte(want)) == 1
}

// read decodes one member; every one is required.
func read[T any](members map[string]json.RawMessage, name string, into *T) bool {
	raw, ok := members[name]
	return ok && string(raw) != "null" && json.Unmarshal(raw, into) == nil
}

// queryCreateGroup returns what was made beside the answer; "" for nothing.
func (s *Server) queryCreateGroup(ctx context.Context, members map[string]json.RawMessage) (any, string) {
	var (
		user, kind uint32
		key        string
		req        = &group.IMGroupCreateReq{UserId: proto.Uint32(0)}
	)
	req.GroupName, req.GroupAvatar = new(string), new(string)
	ok := read(members, "req_user_id", &user) && read(members, "app_key", &key) &&
		read(members, "group_name", req.GroupName) && read(members, "group_type", &kind) &&
		read(members, "group_avatar", req.GroupAvatar) && read(members, "user_id_list", &req.MemberIdList)
	if _, known := basedefine.GroupType_name[int32(kind)]; !ok || !known {
		return queryBadParameter(), "" // without a group_id, as in the original
	}
	req.GroupType = basedefine.GroupType(kind).Enum()
	res, err := s.createGroup(ctx, req)
	switch {
	case err != nil:
		return createAnswer{queryAnswer: queryNoServer()}, ""
	case res.GetResultCode() != 0:
		return createAnswer{queryAnswer: queryNotCreated()}, ""
	}
	return createAnswer{queryAnswer: queryOK(), GroupID: res.GetGroupId()}, fmt.Sprintf("group:%d", res.GetGroupId())
}

// queryChangeMembers returns what was changed beside the answer; "" for nothing.
func (s *Server) queryChangeMembers(ctx context.Context, members map[string]json.RawMessage) (any, string) {
	var (
		user, kind uint32
		key        string
		req        = &group.IMGroupChangeMemberReq{UserId: proto.Uint32(0), GroupId: new(uint32)}
	)
	ok := read(members, "req_user_id", &user) && read(members, "app_key", &key) &&
		read(members, "group_id", req.GroupId) && read(members, "modify_type", &kind) &&
		read(members, "user_id_list", &req.MemberIdList)
	if _, known := basedefine.GroupModifyType_name[int32(kind)]; !ok || !known {
		return queryBadParameter(), ""
	}
	req.ChangeType = basedefine.GroupModifyType(kind).Enum()
	res, err := s.changeMembers(ctx, req)
	switch {
	case err != nil:
		return queryNoServer(), ""
	case res.GetResultCode() != 0:
		return queryNotChanged(), ""
	}
	return queryOK(), fmt.Sprintf("group:%d", req.GetGroupId())
}

// createGroup asks a db_proxy to make a group, 0405 to 0406.
func (s *Server) createGroup(ctx context.Context, req *group.IMGroupCreateReq) (*group.IMGroupCreateRsp, error) {
	res := new(group.IMGroupCreateRsp)
	return res, s.backend.DB(ctx, req, wire.GroupCreateReq, wire.GroupCreateRes, res)
}

// changeMembers asks the owner of a group to change its members, 0407 to
// 0408, and tells those concerned. Source: docs/protocol/flows.md §18.
func (s *Server) changeMembers(
	ctx context.Context, req *group.IMGroupChangeMemberReq,
) (*group.IMGroupChangeMemberRsp, error) {
	res := new(group.IMGroupChangeMemberRsp)
	owner := im.GroupID(req.GetGroupId())
	err := s.backend.Group(ctx, owner, req, wire.GroupChangeMemberReq, wire.GroupChangeMemberRes, res)
	if err == nil && res.GetResultCode() == 0 {
		s.backend.TellMembers(res)
	}
	return res, err
}
