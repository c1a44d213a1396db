package command

import (
	"cmp"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"teamtalk/db_proxy/internal/directory"
	"teamtalk/db_proxy/internal/lane"
	"teamtalk/db_proxy/internal/store"
	"teamtalk/internal/im"
	"teamtalk/internal/wire"
	"teamtalk/pb/basedefine"
)

// QueryStore is the database as the queries see it: each file declares what
// it reads and changes.
type QueryStore interface { //nolint:interfacebloat // each query asks for its own part only
	userStore
	departmentStore
	profileStore
	pushShieldStore
	sessionStore
	sessionRemover
	historyStore
	messageStore
	latestStore
	unreadStore
	groupListStore
	groupInfoStore
	groupShieldStore
	deviceTokenStore
	pushTargetStore
	offlineFileStore
	terminalStore
	apiStore
}

// QueryCache is Redis as the queries see it.
type QueryCache interface {
	unreadCache
}

// QueryLanes is where a query takes its turn that changes a conversation
// after all.
type QueryLanes interface {
	Lanes
	readWaiter
}

// QueryBehind is what is written after the commits.
type QueryBehind interface {
	activitySettler
	countSettler
	countForgetter
	tokenMirror
	shieldMirror
	deliverySettler
}

// QueryDeps is what the queries need. All are needed.
type QueryDeps struct {
	Store     QueryStore
	Cache     QueryCache
	Directory *directory.Directory
	Lanes     QueryLanes
	Behind    QueryBehind
	Auth      authenticator
	// Slow runs a task where hashing keeps nobody waiting, and reports
	// whether it will. It never blocks.
	Slow  func(task func()) bool
	Voice VoiceKeeper
	Clock func() time.Time // its hour is that of the night rule
	Night Night
	// VoiceText stands for voice messages in lists: "[语音]" encrypted with
	// the configured key; "" is that of the standard key.
	VoiceText string
}

// Queries returns the rows of the commands that read, and of those that
// change only what belongs to one user, ascending by id.
func Queries(d QueryDeps) []Command {
	if d.VoiceText == "" {
		d.VoiceText = standardVoice
	}
	a := access{groups: d.Directory, relations: d.Directory}
	counts := unreadCounts{store: d.Store, cache: d.Cache, behind: d.Behind}
	rows := slices.Concat(
		validateCommands(&validation{auth: d.Auth, slow: d.Slow}),
		userCommands(&users{store: d.Store}),
		departmentCommands(&departments{store: d.Store}),
		profileCommands(&profile{store: d.Store, users: d.Directory}),
		pushShieldCommands(&pushShield{store: d.Store}),
		sessionCommands(&sessions{store: d.Store, access: a, behind: d.Behind, voice: d.VoiceText}),
		removeSessionCommands(&removeSession{store: d.Store, lanes: d.Lanes, behind: d.Behind}),
		historyCommands(&history{store: d.Store, access: a, voice: d.Voice}),
		byIDCommands(&byID{store: d.Store, access: a, voice: d.Voice}),
		terminalCommands(&terminals{store: d.Store, access: a, behind: d.Behind, voice: d.Voice}),
		latestIDCommands(&latestID{store: d.Store, access: a}),
		unreadCommands(&unread{store: d.Store, counts: counts, access: a, reads: d.Lanes, voice: d.VoiceText}),
		groupListCommands(&groupList{store: d.Store}),
		groupInfoCommands(&groupInfo{store: d.Store, groups: d.Directory, forget: d.Directory.ForgetGroup}),
		groupShieldCommands(&groupShield{store: d.Store, groups: d.Directory, mirror: d.Behind}),
		deviceTokenCommands(&deviceToken{store: d.Store, mirror: d.Behind}),
		apiCommands(&api{store: d.Store, users: d.Directory, relations: d.Directory, slow: d.Slow}),
		pushTargetCommands(&pushTargets{store: d.Store, counts: counts, night: d.Night, clock: d.Clock}),
		offlineFileCommands(&offlineFiles{store: d.Store}),
	)
	slices.SortFunc(rows, func(a, b Command) int { return cmp.Compare(a.ID, b.ID) })
	return guard(rows, d.Directory)
}

// maxReply bounds the size of a reply in bytes, well below the largest PDU of
// a server link.
const maxReply = wire.MaxServerPDU - 4<<20

// parse decodes the body of a request; what fails is dropped, as all that the
// protocol does not allow. Source: docs/protocol/flows.md §20.
func parse(r *Request, m proto.Message) error {
	if err := proto.Unmarshal(r.Body, m); err != nil {
		return im.Wrap(im.Invalid, "parse request", err)
	}
	return nil
}

// parseKind refuses a session type that does not exist. Go keeps unknown
// numbers of an enum; the original does not parse them.
func parseKind(t basedefine.SessionType) (im.Kind, error) {
	if k := im.Kind(t); int32(k) == int32(t) && k.Valid() {
		return k, nil
	}
	return 0, im.Errorf(im.Invalid, "session type %d", t)
}

// standardVoice is "[语音]" encrypted with the key of all original clients.
const standardVoice = "QhGXlpFjvMFUNrtl1aaPzA=="

// preview is what a list shows of a message: its content, or a constant for a
// voice message. Source: docs/protocol/flows.md §8.2.
func preview(m *store.Message, voice string) []byte {
	if m.Type.Audio() {
		return []byte(voice)
	}
	return []byte(m.Content)
}

// previewFrom is who a list says the message is from: in a single chat always
// the peer, in a group the sender. Source: docs/protocol/flows.md §8.2, §10.1.
func previewFrom(k store.SessionKey, m *store.Message) uint32 {
	if k.Kind == im.Single {
		return k.Peer
	}
	return uint32(m.From)
}

var _ QueryLanes = (*lane.Lanes)(nil)
