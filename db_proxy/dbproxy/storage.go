package dbproxy

import (
	"bytes"
	"context"
	"encoding/hex"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"

	"teamtalk/db_proxy/internal/store"
	"teamtalk/internal/im"
	"teamtalk/internal/link"
	"teamtalk/internal/wire"
	"teamtalk/pb/basedefine"
	"teamtalk/pb/extension"
)

// Bounds of what is known of the database.
const (
	lookEvery = time.Second            // at whether it is well, and went back
	lookFor   = 2 * time.Second        // at most
	lookAgain = 300 * time.Millisecond // before a message that is missing counts as lost
	maxMarks  = 16                     // messages that must be there
)

// storage watches over the database: whether it takes writes, which the peers
// are told, and whether it went back to an earlier state. That shows when
// messages are missing which were committed: this process, Redis and every
// msg_server remember the newest ones. Then another epoch begins, and whatever
// was known of the database is forgotten.
type storage struct {
	server *Server
	kick   chan struct{} // look now; never closed
	epoch  atomic.Pointer[store.Epoch]

	// Owned by run.
	kept []byte // what Redis was given last

	mu    sync.Mutex                              // guards the fields below; a leaf
	marks []mark                                  // of this process, oldest first
	asked map[*link.Link]*extension.IMStorageSeen // what peers remember, until it was looked for
	found map[*link.Link]bool                     // of asked, those whose messages were looked for
	told  map[*link.Link]*extension.IMStorageState
}

// mark is a message that was committed.
type mark struct {
	store.Operation
	id im.MsgID
}

func newStorage(s *Server) *storage {
	return &storage{
		server: s, kick: make(chan struct{}, 1),
		asked: map[*link.Link]*extension.IMStorageSeen{}, found: map[*link.Link]bool{}, told: map[*link.Link]*extension.IMStorageState{},
	}
}

// doubt makes run look at once. It is store.Deps.Doubt.
func (g *storage) doubt() {
	select {
	case g.kick <- struct{}{}:
	default: // it is about to
	}
}

// wentBack is lane.Deps.WentBack.
func (g *storage) wentBack() time.Time {
	if e := g.epoch.Load(); e != nil {
		return e.Began
	}
	return time.Time{}
}

// open enters the epoch of the database, a new one if Redis remembers messages
// that are missing.
func (g *storage) open(ctx context.Context) error {
	epoch, err := g.server.store.Epoch(ctx)
	if err != nil {
		return err
	}
	g.epoch.Store(&epoch)
	seen := new(extension.IMStorageSeen)
	if held, err := g.server.cache.Seen(ctx); err == nil && proto.Unmarshal(held, seen) == nil {
		if err := g.check(ctx, g.marksOf(seen)); err != nil {
			return err
		}
	}
	g.enter(ctx)
	return nil
}

// enter tells Redis the epoch. While Redis is away the counts it holds are not
// believed.
func (g *storage) enter(ctx context.Context) {
	if err := g.server.cache.Enter(ctx, hex.EncodeToString(g.epoch.Load().ID[:])); err != nil {
		g.server.log.Warn("Redis not told the epoch", "error", err)
	}
}

// run looks every second, and when there is reason to.
func (g *storage) run(ctx context.Context) {
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for {
		g.look(ctx)
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		case <-g.kick:
		}
	}
}

// look finds out how the database is and tells the peers. A database that is
// slow is neither well nor away: nothing changes.
func (g *storage) look(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, lookFor)
	defer cancel()
	s := g.server
	if s.store.Well() == nil {
		_ = s.store.Ping(ctx) // Well knows what it said
	}
	if s.store.Well() != nil {
		g.tell(false)
		return
	}
	epoch, err := s.store.Epoch(ctx)
	if known := *g.epoch.Load(); err == nil && epoch != known {
		if !epoch.Follows(known) {
			epoch, err = s.store.NewEpoch(ctx, epoch)
		}
		if err == nil {
			g.begin(ctx, epoch)
		}
	}
	if err == nil {
		err = g.check(ctx, g.evidence())
	}
	if err != nil {
		s.log.Debug("the database was not looked at", "error", err)
		return
	}
	g.keep(ctx)
	g.tell(true)
}

// evidence are the messages that must be there.
func (g *storage) evidence() []mark {
	g.mu.Lock()
	defer g.mu.Unlock()
	all := slices.Clone(g.marks)
	for l, seen := range g.asked {
		g.found[l] = true
		all = append(all, g.marksOf(seen)...)
	}
	return all
}

// check begins another epoch if messages are missing that were committed in
// this one. They are looked for twice: a node of a cluster may be behind for a
// moment.
func (g *storage) check(ctx context.Context, marks []mark) error {
	missing, err := g.missing(ctx, marks)
	if err != nil || len(missing) == 0 {
		return err
	}
	timer := time.NewTimer(lookAgain)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		return ctx.Err()
	}
	if missing, err = g.missing(ctx, missing); err != nil || len(missing) == 0 {
		return err
	}
	g.server.log.Error("the database went back: messages that were committed are missing",
		"conversation", missing[0].Conv.String(), "msg_id", uint32(missing[0].id), "messages", len(missing))
	epoch, err := g.server.store.NewEpoch(ctx, *g.epoch.Load())
	if err != nil {
		return err
	}
	g.begin(ctx, epoch)
	return nil
}

// missing returns the marks that the database knows nothing of.
func (g *storage) missing(ctx context.Context, marks []mark) (gone []mark, err error) {
	if len(marks) == 0 {
		return nil, nil
	}
	var pairs []im.Pair
	for _, m := range marks {
		if m.Conv.Kind == im.Single {
			pairs = append(pairs, m.Conv.Pair)
		}
	}
	relations, err := g.server.store.Relations(ctx, pairs)
	if err != nil {
		return nil, err
	}
	var ops []store.Operation
	for i := range marks {
		if m := &marks[i]; m.Conv.Kind == im.Single {
			m.Relation = relations[m.Conv.Pair]
		}
		if marks[i].Conv.Kind == im.Group || marks[i].Relation != 0 {
			ops = append(ops, marks[i].Operation)
		}
	}
	found, err := g.server.store.FindOperations(ctx, ops)
	if err != nil {
		return nil, err
	}
	for _, m := range marks {
		if found[m.Operation] == 0 {
			gone = append(gone, m)
		}
	}
	return gone, nil
}

// begin forgets what was known of the database in another epoch.
func (g *storage) begin(ctx context.Context, epoch store.Epoch) {
	g.epoch.Store(&epoch)
	g.mu.Lock()
	g.marks = nil
	g.mu.Unlock()
	s := g.server
	s.metrics.epochs.Inc()
	s.log.Warn("another epoch of the database begins: what was known of it is forgotten", "epoch", epoch.String())
	if s.directory != nil { // not while the server opens
		s.directory.Reset()
		s.lanes.Reset()
	}
	g.enter(ctx)
}

// keep lets Redis remember the newest messages, and in which epoch.
func (g *storage) keep(ctx context.Context) {
	g.mu.Lock()
	epoch := g.epoch.Load()
	seen := &extension.IMStorageSeen{Epoch: epoch.ID[:]}
	for _, m := range g.marks {
		seen.Marks = append(seen.Marks, &extension.StorageMark{
			SessionType: basedefine.SessionType(m.Conv.Kind).Enum(), FromUserId: proto.Uint32(uint32(m.From)),
			ToSessionId: proto.Uint32(m.Conv.SessionID(m.From)), MsgId: proto.Uint32(uint32(m.id)), OperationId: m.ID[:],
		})
	}
	g.mu.Unlock()
	held, err := proto.Marshal(seen)
	if err != nil || len(seen.GetMarks()) == 0 || bytes.Equal(held, g.kept) {
		return
	}
	if err := g.server.cache.SetSeen(ctx, held); err == nil {
		g.kept = held
	}
}

// marksOf reads what somebody remembers, if it is of this epoch.
func (g *storage) marksOf(seen *extension.IMStorageSeen) []mark {
	if !bytes.Equal(seen.GetEpoch(), g.epoch.Load().ID[:]) {
		return nil
	}
	var marks []mark
	for _, m := range seen.GetMarks()[:min(len(seen.GetMarks()), maxMarks)] {
		kind, from := im.Kind(m.GetSessionType()), im.UserID(m.GetFromUserId())
		if !kind.Valid() || len(m.GetOperationId()) != len(im.OperationID{}) {
			continue
		}
		marks = append(marks, mark{
			Operation: store.Operation{
				Conv: im.ConversationOf(from, kind, m.GetToSessionId()), From: from, ID: im.OperationID(m.GetOperationId()),
			},
			id: im.MsgID(m.GetMsgId()),
		})
	}
	return marks
}

// committed remembers the newest messages of a batch.
func (g *storage) committed(messages []store.Message) {
	messages = messages[max(0, len(messages)-maxMarks):]
	g.mu.Lock()
	defer g.mu.Unlock()
	for i := range messages {
		m := &messages[i]
		g.marks = append(g.marks, mark{
			Operation: store.Operation{Conv: m.Conv, Relation: m.Relation, From: m.From, ID: m.Op}, id: m.ID,
		})
	}
	g.marks = slices.Delete(g.marks, 0, max(0, len(g.marks)-maxMarks))
}

// seen takes what a peer remembers, 0796; it is answered when that was looked
// for. On an event loop.
func (g *storage) seen(l *link.Link, body []byte) error {
	m := new(extension.IMStorageSeen)
	if err := proto.Unmarshal(body, m); err != nil {
		return im.Wrap(im.Invalid, "parse what a peer has seen", err)
	}
	g.mu.Lock()
	g.asked[l] = m
	g.mu.Unlock()
	g.doubt()
	return nil
}

// down forgets a peer.
func (g *storage) down(l *link.Link) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.asked, l)
	delete(g.found, l)
	delete(g.told, l)
}

// tell says how the database is to those who asked, and again when it changes.
// Nobody hears that it is well before it was looked for what he remembers.
func (g *storage) tell(well bool) {
	epoch := g.epoch.Load()
	state := &extension.IMStorageState{Well: proto.Bool(well), Epoch: epoch.ID[:]}
	g.mu.Lock()
	defer g.mu.Unlock()
	for l := range g.asked {
		if well && g.found[l] {
			delete(g.asked, l)
		}
		if _, known := g.told[l]; !known {
			g.told[l] = nil
		}
	}
	clear(g.found)
	for l, old := range g.told {
		if well && g.asked[l] != nil {
			continue
		}
		if old == nil || old.GetWell() != well || !bytes.Equal(old.GetEpoch(), epoch.ID[:]) {
			l.SendMessage(wire.StorageState, 0, state)
			g.told[l] = state
		}
	}
}

// witness is the store of the lanes: what they commit is remembered.
type witness struct {
	*store.Store
	storage *storage
}

// Commit is store.Store's.
func (w witness) Commit(ctx context.Context, b *store.Batch) error {
	err := w.Store.Commit(ctx, b)
	if err == nil && len(b.Messages) > 0 {
		w.storage.committed(b.Messages)
	}
	return err
}
