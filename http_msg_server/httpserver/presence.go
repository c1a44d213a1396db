package httpserver

import (
	"fmt"
	"net/http"
	"slices"

	"google.golang.org/protobuf/proto"

	"teamtalk/internal/im"
	"teamtalk/pb/basedefine"
	"teamtalk/pb/extension"
)

// presence says on which kinds of clients a user is logged in.
type presence struct {
	UserID  uint32   `json:"user_id"`
	Online  bool     `json:"online"`
	Clients []string `json:"clients"` // windows, mac, ios, android
}

type presencePage struct {
	Users      []presence `json:"users"`
	Total      uint32     `json:"total"` // users on-line in all
	NextCursor string     `json:"next_cursor,omitempty"`
}

type kickRequest struct {
	Clients []string `json:"clients,omitempty"` // pc, phone; without it both
}

type kickAnswer struct {
	Kicked []string `json:"kicked"` // the kinds of clients that were logged in
}

func presenceOperations() []*operation {
	return []*operation{
		handle(operation{
			ID: "listOnline", Method: http.MethodGet, Path: "/presence", Scope: PresenceRead, Status: http.StatusOK,
			Summary: "Who is on-line, in ascending user id.", Params: []param{cursorParam, limitParam},
		}, listOnline),
		handle(operation{
			ID: "getPresence", Method: http.MethodGet, Path: "/users/{user_id}/presence", Scope: PresenceRead,
			Status: http.StatusOK, Summary: "Whether a user is on-line, and on which clients.", Params: []param{userInPath},
		}, getPresence),
		handle(operation{
			ID: "kickUser", Method: http.MethodPost, Path: "/users/{user_id}/kick", Scope: PresenceWrite,
			Status: http.StatusOK, Params: []param{userInPath},
			Summary: "Log a user off, on PCs, phones or both. He may log in again unless he is disabled.",
		}, kickUser),
	}
}

// clientName is the word for a kind of client.
func clientName(t basedefine.ClientType) string {
	switch t {
	case basedefine.ClientType_CLIENT_TYPE_WINDOWS:
		return "windows"
	case basedefine.ClientType_CLIENT_TYPE_MAC:
		return "mac"
	case basedefine.ClientType_CLIENT_TYPE_IOS:
		return "ios"
	case basedefine.ClientType_CLIENT_TYPE_ANDROID:
		return "android"
	}
	return "other"
}

func presenceOf(id uint32, p *extension.ApiPresence) presence {
	out := presence{UserID: id, Clients: []string{}}
	for _, t := range p.GetClientTypes() {
		out.Online = true
		out.Clients = append(out.Clients, clientName(t))
	}
	return out
}

func listOnline(c *call, _ *none) (*presencePage, error) {
	p, err := c.page("presence")
	if err != nil {
		return nil, err
	}
	res, err := c.server.backend.Presence(c.ctx(), &extension.IMApiPresenceReq{
		AfterUserId: proto.Uint32(p.after), Limit: proto.Uint32(p.limit),
	})
	if err != nil {
		return nil, err
	}
	out := &presencePage{Users: []presence{}, Total: res.GetTotal()}
	for _, u := range res.GetUsers() {
		out.Users = append(out.Users, presenceOf(u.GetUserId(), u))
	}
	if n := len(out.Users); n > 0 {
		out.NextCursor = next(res.GetMore(), "presence", out.Users[n-1].UserID)
	}
	return out, nil
}

// presenceNow asks for one user, who must exist.
func (c *call) presenceNow() (presence, error) {
	id, err := c.pathID(userInPath)
	if err != nil {
		return presence{}, err
	}
	if _, err := c.account(id, userInPath.Name); err != nil {
		return presence{}, err
	}
	res, err := c.server.backend.Presence(c.ctx(), &extension.IMApiPresenceReq{UserIds: []uint32{id}})
	if err != nil {
		return presence{}, err
	}
	if len(res.GetUsers()) == 0 {
		return presenceOf(id, nil), nil
	}
	return presenceOf(id, res.GetUsers()[0]), nil
}

func getPresence(c *call, _ *none) (*presence, error) {
	p, err := c.presenceNow()
	return &p, err
}

// The classes of clients that can be kicked, and one client of each: a kick
// ends all clients of a class. Source: docs/protocol/flows.md §4.
var allClients = []string{"pc", "phone"}

func clientOf(class string) im.ClientType {
	if class == "phone" {
		return im.IOS
	}
	return im.Mac
}

// check is called before the request is carried out.
func (k *kickRequest) check() error {
	for i, class := range k.Clients {
		if !slices.Contains(allClients, class) {
			return wrong(fmt.Sprintf("clients.%d", i), "must be pc or phone")
		}
	}
	return nil
}

// kick logs a user off on some classes of clients.
func (s *Server) kick(user im.UserID, classes []string) error {
	for _, class := range classes {
		if err := s.backend.Kick(user, clientOf(class)); err != nil {
			return err
		}
	}
	return nil
}

func kickUser(c *call, in *kickRequest) (*kickAnswer, error) {
	p, err := c.presenceNow()
	if err != nil {
		return nil, err
	}
	classes := in.Clients
	if len(classes) == 0 {
		classes = allClients
	}
	c.subject = fmt.Sprintf("user:%d", p.UserID)
	if err := c.server.kick(im.UserID(p.UserID), classes); err != nil {
		return nil, err
	}
	out := &kickAnswer{Kicked: []string{}}
	for _, name := range p.Clients {
		class := "pc"
		if name == "ios" || name == "android" {
			class = "phone"
		}
		if slices.Contains(classes, class) {
			out.Kicked = append(out.Kicked, name)
		}
	}
	return out, nil
}
