// Package notify decides about push notifications: who of those that a message
// went to has a phone that does not get it otherwise, and what the phone shows.
// Only the server that a message came in at decides, so there is one push for
// each message and phone, however many servers there are. Delivery to Apple
// and Google is push_server's business.
//
// Source: docs/protocol/flows.md §15, with the fixes of
// docs/protocol/defects.md E1, E2, E4, E5 and E9.
package notify

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/proto"

	"teamtalk/client/textcrypt"
	"teamtalk/internal/ask"
	"teamtalk/internal/im"
	"teamtalk/internal/link"
	"teamtalk/internal/transport"
	"teamtalk/internal/wire"
	"teamtalk/pb/basedefine"
	"teamtalk/pb/buddy"
	"teamtalk/pb/extension"
	"teamtalk/pb/server"
)

// Bounds: messages that wait for a decision, decisions at the same time, and
// how long one may take.
const (
	maxWaiting = 20_000
	deciders   = 16
	patience   = 5 * time.Second
)

// Message is a stored message. Nobody changes it after Offer.
type Message struct {
	From    im.UserID
	Conv    im.Conversation
	Type    im.MsgType
	Data    []byte   // as on the wire
	Members []uint32 // of a group, the sender among them
}

// Config of a Notifier.
type Config struct {
	PushServers []string // host:port; none: nothing is pushed
	AESKey      []byte   // 32 bytes
}

// Deps of a Notifier. All are needed but Phone.
type Deps struct {
	Node *link.Node
	// DB and Route return a link for a question; nil when there is none.
	DB, Route func() *link.Link
	// Phone reports whether a phone of the user is connected to this server;
	// of other servers a route_server of ours tells.
	Phone func(im.UserID) bool
	Log   *slog.Logger
	Reg   prometheus.Registerer
}

// Notifier is safe from any goroutine.
type Notifier struct {
	cfg      Config
	deps     Deps
	texts    *textcrypt.Cipher
	outcomes *prometheus.CounterVec
	asked    prometheus.Counter
	queue    chan *Message
	calls    ask.Calls
	live     link.Set // to push_servers
	turn     atomic.Uint64
}

// New returns a Notifier that Run starts.
func New(cfg Config, deps Deps) (*Notifier, error) {
	texts, err := textcrypt.New(cfg.AESKey)
	if err != nil {
		return nil, err
	}
	n := &Notifier{
		cfg: cfg, deps: deps, texts: texts, queue: make(chan *Message, maxWaiting),
		outcomes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "im_push_decisions_total", Help: "Messages by whether somebody's phone is notified.",
		}, []string{"outcome"}),
		asked: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "im_push_phones_total", Help: "Phones that push_servers were asked to notify.",
		}),
	}
	deps.Reg.MustRegister(n.outcomes, n.asked, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "im_push_decisions_waiting", Help: "Messages that wait for the decision whether to notify phones.",
	}, func() float64 { return float64(len(n.queue)) }))
	return n, nil
}

// Enabled reports whether there is anything to decide: a push_server is
// configured.
func (n *Notifier) Enabled() bool { return len(n.cfg.PushServers) > 0 }

// Run keeps the links to the push_servers open and decides until ctx ends.
func (n *Notifier) Run(ctx context.Context, engine *transport.Engine) {
	if !n.Enabled() {
		<-ctx.Done()
		return
	}
	var running sync.WaitGroup
	for _, addr := range n.cfg.PushServers {
		running.Go(func() { n.deps.Node.KeepPlain(ctx, engine, addr, (*pushLinks)(n)) })
	}
	for range deciders {
		running.Go(func() {
			for {
				select {
				case <-ctx.Done():
					return
				case m := <-n.queue:
					n.outcomes.WithLabelValues(n.decide(ctx, m)).Inc()
				}
			}
		})
	}
	running.Wait()
}

// Offer hands a message over that was stored now. It never blocks.
func (n *Notifier) Offer(m *Message) {
	if !n.Enabled() {
		return
	}
	select {
	case n.queue <- m:
	default:
		n.outcomes.WithLabelValues("queue_full").Inc()
	}
}

// Answered takes what a db_proxy or route_server sent, if it is an answer to a
// question of the Notifier's.
func (n *Notifier) Answered(pdu wire.PDU) bool { return n.calls.Answered(pdu) == ask.Taken }

// Lost ends what was asked over a link that is gone.
func (n *Notifier) Lost(l *link.Link) { n.calls.Lost(l) }

// decide carries the decision out and names it.
func (n *Notifier) decide(ctx context.Context, m *Message) (outcome string) {
	to := n.pushServer()
	if to == nil {
		return "no_push_server"
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	tokens, err := n.phones(ctx, m)
	if err != nil {
		n.deps.Log.InfoContext(ctx, "nobody notified", "conversation", m.Conv.String(), "error", err)
		return "failed"
	}
	if len(tokens) == 0 {
		return "nobody"
	}
	flash, err := n.flash(ctx, m)
	if err != nil {
		return "unreadable"
	}
	if !to.SendMessage(wire.PushToUserReq, 0, &server.IMPushToUserReq{
		Flash: proto.String(flash), Data: proto.String(data(m)), UserTokenList: tokens,
	}) {
		return "no_push_server"
	}
	n.asked.Add(float64(len(tokens)))
	return "pushed"
}

// phones returns the tokens of the phones to notify: of receivers who have not
// muted the group, who want pushes now, and whose phone is not connected.
func (n *Notifier) phones(ctx context.Context, m *Message) ([]*basedefine.UserTokenInfo, error) {
	users := []uint32{uint32(m.Conv.Pair.Peer(m.From))}
	if m.Conv.Kind == im.Group {
		var err error
		if users, err = n.unmuted(ctx, m); err != nil {
			return nil, err
		}
	}
	if len(users) == 0 {
		return nil, nil
	}
	res := new(server.IMGetDeviceTokenRsp)
	req := &server.IMGetDeviceTokenReq{UserId: users}
	err := n.ask(ctx, n.deps.DB(), req, wire.DeviceTokensReq, wire.DeviceTokensRes, res)
	if err != nil {
		return nil, err
	}
	return n.away(ctx, res.GetUserTokenInfo()), nil
}

// unmuted returns the members but the sender who have not muted the group.
func (n *Notifier) unmuted(ctx context.Context, m *Message) (users []uint32, err error) {
	for _, u := range m.Members {
		if u != uint32(m.From) {
			users = append(users, u)
		}
	}
	if len(users) == 0 {
		return nil, nil
	}
	res := new(server.IMGroupGetShieldRsp)
	err = n.ask(ctx, n.deps.DB(), &server.IMGroupGetShieldReq{
		GroupId: proto.Uint32(uint32(m.Conv.Group)), UserId: users,
	}, wire.GroupShieldsReq, wire.GroupShieldsRes, res)
	if err != nil {
		return nil, err
	}
	muted := map[uint32]bool{}
	for _, s := range res.GetShieldStatusList() {
		muted[s.GetUserId()] = s.GetShieldStatus() != 0
	}
	users = users[:0]
	for _, u := range m.Members {
		if u != uint32(m.From) && !muted[u] {
			users = append(users, u)
		}
	}
	return users, nil
}

// Values of push_type. Source: docs/protocol/flows.md §15.
const (
	pushAlert  = 1
	pushSilent = 2 // only the number at the icon changes: the user sits at his PC
)

// away leaves out whose phone is connected, and makes silent what is for
// somebody at a PC. Who cannot be asked about is notified.
func (n *Notifier) away(ctx context.Context, tokens []*basedefine.UserTokenInfo) (kept []*basedefine.UserTokenInfo) {
	if len(tokens) == 0 {
		return nil
	}
	phone, pc := n.presence(ctx, tokens)
	for _, t := range tokens {
		id := t.GetUserId()
		if phone[id] || n.deps.Phone != nil && n.deps.Phone(im.UserID(id)) {
			continue
		}
		t.PushType = proto.Uint32(pushAlert)
		if pc[id] {
			t.PushType = proto.Uint32(pushSilent)
		}
		kept = append(kept, t)
	}
	return kept
}

// presence says whose phone and whose PC is connected anywhere. An original
// route_server knows of PCs only.
func (n *Notifier) presence(ctx context.Context, tokens []*basedefine.UserTokenInfo) (phone, pc map[uint32]bool) {
	phone, pc = map[uint32]bool{}, map[uint32]bool{}
	ids := make([]uint32, len(tokens))
	for i, t := range tokens {
		ids[i] = t.GetUserId()
	}
	l := n.deps.Route()
	if l != nil && l.Has(link.CapPresence) {
		res := new(extension.IMApiPresenceRsp)
		if n.ask(ctx, l, &extension.IMApiPresenceReq{UserIds: ids}, wire.APIPresenceReq, wire.APIPresenceRes, res) == nil {
			sortTerminals(res.GetUsers(), phone, pc)
		}
		return phone, pc
	}
	res := new(buddy.IMUsersStatRsp)
	req := &buddy.IMUsersStatReq{UserId: proto.Uint32(0), UserIdList: ids}
	if n.ask(ctx, l, req, wire.UsersStatusReq, wire.UsersStatusRes, res) == nil {
		for _, s := range res.GetUserStatList() {
			pc[s.GetUserId()] = s.GetStatus() == basedefine.UserStatType_USER_STATUS_ONLINE
		}
	}
	return phone, pc
}

// sortTerminals notes who is on a phone and who is at a PC.
func sortTerminals(users []*extension.ApiPresence, phone, pc map[uint32]bool) {
	for _, u := range users {
		for _, t := range u.GetClientTypes() {
			if im.ClientType(t).Mobile() {
				phone[u.GetUserId()] = true
			} else {
				pc[u.GetUserId()] = true
			}
		}
	}
}

// nick looks the sender's name up. Source: docs/protocol/defects.md E5.
func (n *Notifier) nick(ctx context.Context, user im.UserID) (string, error) {
	res := new(buddy.IMUsersInfoRsp)
	req := &buddy.IMUsersInfoReq{UserId: proto.Uint32(uint32(user)), UserIdList: []uint32{uint32(user)}}
	if err := n.ask(ctx, n.deps.DB(), req, wire.UserInfoReq, wire.UserInfoRes, res); err != nil {
		return "", err
	}
	if len(res.GetUserInfoList()) == 0 {
		return "", errors.New("the sender has no account")
	}
	return res.GetUserInfoList()[0].GetUserNickName(), nil
}

func (n *Notifier) ask(
	ctx context.Context, l *link.Link, req proto.Message, command, answer wire.Command, res proto.Message,
) error {
	body, err := n.calls.Exchange(ctx, l, req, command, answer)
	if err != nil {
		return err
	}
	return proto.Unmarshal(body, res)
}
