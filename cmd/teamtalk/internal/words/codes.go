package words

import (
	"teamtalk/internal/im"
	"teamtalk/pb/basedefine"
)

// ofLogin are the words for why a log-in is refused, by its result code. A
// login_server's codes have the same meanings.
var ofLogin = map[basedefine.ResultType]ID{
	basedefine.ResultType_REFUSE_REASON_NO_MSG_SERVER:      NoMsgServer,
	basedefine.ResultType_REFUSE_REASON_MSG_SERVER_FULL:    MsgServersFull,
	basedefine.ResultType_REFUSE_REASON_NO_DB_SERVER:       NoDatabase,
	basedefine.ResultType_REFUSE_REASON_NO_LOGIN_SERVER:    NoLoginServer,
	basedefine.ResultType_REFUSE_REASON_NO_ROUTE_SERVER:    NoRouteServer,
	basedefine.ResultType_REFUSE_REASON_DB_VALIDATE_FAILED: WrongPassword,
	basedefine.ResultType_REFUSE_REASON_VERSION_TOO_OLD:    ClientTooOld,
}

// ofKick are the words for why a log-in ended.
var ofKick = map[basedefine.KickReasonType]ID{
	basedefine.KickReasonType_KICK_REASON_DUPLICATE_USER: Kicked,
	basedefine.KickReasonType_KICK_REASON_MOBILE_KICK:    KickedFromPhone,
}

// ofCode are the words for why a request was not carried out.
var ofCode = map[im.Code]ID{
	im.Internal:    Fault,
	im.Invalid:     BadRequest,
	im.Denied:      NotAllowed,
	im.NotFound:    NotThere,
	im.Busy:        ServerBusy,
	im.Unavailable: ServerAway,
	im.TooLarge:    ContentTooLarge,
}

// login returns the words for a result code; those without are named by number.
func (l Lang) login(code basedefine.ResultType) string {
	if id, ok := ofLogin[code]; ok {
		return l.Say(id)
	}
	return l.Say(LoginRefused, int32(code))
}

// code returns the words for a code.
func (l Lang) code(code im.Code) string {
	if id, ok := ofCode[code]; ok {
		return l.Say(id)
	}
	return l.Say(RefusedCode, code)
}
