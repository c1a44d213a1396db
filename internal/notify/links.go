package notify

import (
	"google.golang.org/protobuf/proto"

	"teamtalk/internal/link"
	"teamtalk/internal/wire"
	"teamtalk/pb/extension"
	"teamtalk/pb/server"
)

// pushLinks is the Notifier as the links to the push_servers see it.
type pushLinks Notifier

// pushServer returns a link to one of the push_servers, in turn; nil if none
// is open. Source: docs/protocol/defects.md E9.
func (n *Notifier) pushServer() *link.Link {
	live := n.live.All()
	if len(live) == 0 {
		return nil
	}
	return live[n.turn.Add(1)%uint64(len(live))]
}

// LinkUp is link.Handler's.
func (p *pushLinks) LinkUp(l *link.Link) { p.live.Add(l) }

// LinkDown is link.Handler's.
func (p *pushLinks) LinkDown(l *link.Link) { p.live.Remove(l) }

// ResultGone is the result_code of 0710 for a token that takes no pushes any
// more. An original push_server never says so. Source: docs/protocol.md.
const ResultGone = 2

// LinkPDU is link.Handler's: of the results, 0710, only tokens that are gone
// matter. Source: docs/protocol/defects.md E7.
func (p *pushLinks) LinkPDU(_ *link.Link, pdu wire.PDU) {
	if pdu.Command != wire.PushToUserRes {
		return
	}
	res := new(server.IMPushToUserRsp)
	if err := proto.Unmarshal(pdu.Body, res); err != nil {
		return
	}
	gone := new(extension.IMPushTokensGone)
	for _, r := range res.GetPushResultList() {
		if r.GetResultCode() == ResultGone {
			gone.Tokens = append(gone.Tokens, r.GetUserToken())
		}
	}
	if len(gone.GetTokens()) == 0 {
		return
	}
	if db := p.deps.DB(); db != nil && db.Has(link.CapStore) {
		db.SendMessage(wire.PushTokensGone, 0, gone)
	}
}
