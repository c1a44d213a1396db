package dbproxy

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
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
//
// It is looked at through every new connection before that is used, so that
// nothing is numbered by what a database says that lost its newest messages;
// and every second, for what shows later.
type storage struct {
	server *Server
	kick   chan struct{} // look now; never closed
	opened atomic.Bool   // open is done

	// Owned by run.
	kept []byte // what Redis was given last

	// mu guards the fields below, and what the store believes; it is held over
	// nothing that waits.
	mu    sync.Mutex
	marks []mark                                  // of this process in this epoch, oldest first
	asked map[*link.Link]*extension.IMStorageSeen // what peers remember, until it was looked for
	found map[*link.Link]bool                     // of asked, those whose messages were looked for
	told  map[*link.Link]*extension.IMStorageState
}

// database is what is looked at: the store, or one connection of it.
type database interface {
	Epoch(ctx context.Context) (store.Epoch, error)
	NewEpoch(ctx context.Context, old store.Epoch) (store.Epoch, error)
	Relations(ctx context.Context, pairs []im.Pair) (map[im.Pair]im.RelationID, error)
	FindOperations(ctx context.Context, ops []store.Operation) (map[store.Operation]im.MsgID, error)
}

// mark is a message that was committed.
type mark struct {
	store.Operation
	id im.MsgID
}

func newStorage(s *Server) *storage {
	return &storage{
		server: s, kick: make(chan struct{}, 1),
		asked: map[*link.Link]*extension.IMStorageSeen{}, found: map[*link.Link]bool{},
		told: map[*link.Link]*extension.IMStorageState{},
	}
}

// doubt makes run look at once. It is store.Deps.Doubt.
func (g *storage) doubt() {
	select {
	case g.kick <- struct{}{}:
	default: // it is about to
	}
}

// open enters the epoch of the database, a new one if Redis remembers messages
// that are missing, or a later epoch: then the database was restored again.
func (g *storage) open(ctx context.Context) error {
	epoch, err := g.server.store.Epoch(ctx)
	if err != nil {
		return err
	}
	seen := g.left(ctx)
	if len(seen.GetEpoch()) == len(epoch.ID) {
		last := store.Epoch{ID: [16]byte(seen.GetEpoch())}
		if seen.GetEpochBegan() > 0 {
			last.Began = time.Unix(int64(seen.GetEpochBegan()), 0)
		}
		if epoch != last && !epoch.Follows(last) {
			if epoch, err = g.server.store.NewEpoch(ctx, epoch); err != nil {
				return err
			}
			g.noteBegin(epoch)
		}
	}
	g.believe(epoch)
	err = g.inspect(ctx, g.server.store, g.evidence(seen))
	if err != nil && !errors.Is(err, store.ErrWentBack) {
		return err
	}
	g.enter(ctx)
	g.opened.Store(true)
	return nil
}

// trust is store.Deps.Trust.
func (g *storage) trust(ctx context.Context, view *store.Store) error {
	if !g.opened.Load() {
		return nil // open looks
	}
	ctx, cancel := context.WithTimeout(ctx, lookFor)
	defer cancel()
	return g.inspect(ctx, view, g.evidence(g.left(ctx)))
}

// enter tells Redis the epoch. While Redis is away the counts it holds are not
// believed.
func (g *storage) enter(ctx context.Context) {
	epoch := g.believed()
	if err := g.server.cache.Enter(ctx, hex.EncodeToString(epoch.ID[:])); err != nil {
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
	s := g.server
	var silent error
	if s.store.Well() == nil {
		asking, cancel := context.WithTimeout(ctx, lookFor)
		silent = s.store.Ping(asking)
		cancel()
	}
	if s.store.Well() != nil { // which knows what Ping found out
		g.tell(false)
		return
	}
	if silent != nil {
		return
	}
	g.mu.Lock()
	for l := range g.asked {
		g.found[l] = true
	}
	g.mu.Unlock()
	looking, cancel := context.WithTimeout(ctx, lookFor)
	defer cancel()
	err := g.inspect(looking, s.store, g.evidence(nil))
	if errors.Is(err, store.ErrWentBack) { // what is known of the new epoch is looked for, too
		err = g.inspect(looking, s.store, g.evidence(nil))
	}
	if err != nil {
		s.log.Debug("the database was not looked at", "error", err)
		return
	}
	g.keep(ctx)
	g.tell(true)
}

// inspect looks at the epoch of a database, and for messages that must be
// there in it. If it is in another epoch, or one begins because they are missing,
// the error is store.ErrWentBack. They are looked for twice: a node of a
// cluster may be behind for a moment.
func (g *storage) inspect(ctx context.Context, db database, marks []mark) error {
	known := g.believed()
	epoch, err := db.Epoch(ctx)
	if err != nil {
		return err
	}
	if epoch != known {
		if !epoch.Follows(known) {
			if epoch, err = db.NewEpoch(ctx, epoch); err != nil {
				return err
			}
		}
		return g.begin(ctx, epoch)
	}
	missing, err := g.missing(ctx, db, marks)
	if err != nil || len(missing) == 0 {
		return err
	}
	timer := time.NewTimer(lookAgain)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		return im.Wrap(im.Unavailable, "look for messages again", ctx.Err())
	}
	if missing, err = g.missing(ctx, db, missing); err != nil || len(missing) == 0 {
		return err
	}
	g.server.log.Error("the database went back: messages that were committed are missing",
		"conversation", missing[0].Conv.String(), "msg_id", uint32(missing[0].id), "messages", len(missing))
	if epoch, err = db.NewEpoch(ctx, known); err != nil {
		return err
	}
	return g.begin(ctx, epoch)
}

// evidence are the messages that must be there: those which this process
// stored, those which peers remember, and what was left in Redis. The nodes of
// a cluster may be behind one another, so what other db_proxies left is looked
// for over new connections only.
func (g *storage) evidence(left *extension.IMStorageSeen) []mark {
	g.mu.Lock()
	defer g.mu.Unlock()
	all := append(slices.Clone(g.marks), g.marksOf(left)...)
	for _, seen := range g.asked {
		all = append(all, g.marksOf(seen)...)
	}
	return all
}

// left returns what a db_proxy left in Redis; nothing if Redis does not say.
func (g *storage) left(ctx context.Context) *extension.IMStorageSeen {
	seen := new(extension.IMStorageSeen)
	if held, err := g.server.cache.Seen(ctx); err != nil || proto.Unmarshal(held, seen) != nil {
		return new(extension.IMStorageSeen)
	}
	return seen
}

// missing returns the marks that the database knows nothing of.
func (g *storage) missing(ctx context.Context, db database, marks []mark) (gone []mark, err error) {
	if len(marks) == 0 {
		return nil, nil
	}
	var pairs []im.Pair
	for _, m := range marks {
		if m.Conv.Kind == im.Single {
			pairs = append(pairs, m.Conv.Pair)
		}
	}
	relations, err := db.Relations(ctx, pairs)
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
	found, err := db.FindOperations(ctx, ops)
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

// begin forgets what was known of the database in another epoch, and returns
// store.ErrWentBack. The directory forgets first and last: nothing of before is
// believed in the new epoch, nor comes back by who was reading. The lanes forget
// when they next ask which epoch it is.
func (g *storage) begin(ctx context.Context, epoch store.Epoch) error {
	s := g.server
	if s.directory != nil { // nil while the server opens
		s.directory.Reset()
	}
	if !g.believe(epoch) {
		return store.ErrWentBack // over another connection it was noticed first
	}
	g.noteBegin(epoch)
	if s.directory != nil {
		s.directory.Reset()
	}
	g.enter(ctx)
	g.doubt()
	return store.ErrWentBack
}

func (g *storage) noteBegin(epoch store.Epoch) {
	g.server.metrics.epochs.Inc()
	g.server.log.Warn("another epoch of the database begins: what was known of it is forgotten", "epoch", epoch.String())
}

// believe takes an epoch, and reports whether it is another one than before.
// The peers hear of it before anything that is stored in it.
func (g *storage) believe(epoch store.Epoch) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.believed() == epoch {
		return false
	}
	g.marks = nil
	for l, old := range g.told {
		if old != nil {
			g.say(l, old.GetWell(), epoch)
		}
	}
	g.server.store.Believe(epoch)
	return true
}

func (g *storage) believed() store.Epoch { return g.server.store.Believed() }

// keep lets Redis remember the newest messages, and in which epoch.
func (g *storage) keep(ctx context.Context) {
	g.mu.Lock()
	epoch := g.believed()
	seen := &extension.IMStorageSeen{Epoch: epoch.ID[:]}
	if !epoch.Began.IsZero() {
		seen.EpochBegan = proto.Uint32(uint32(epoch.Began.Unix()))
	}
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

// marksOf reads what somebody remembers, if it is of this epoch. Called with mu
// held.
func (g *storage) marksOf(seen *extension.IMStorageSeen) []mark {
	if epoch := g.believed(); !bytes.Equal(seen.GetEpoch(), epoch.ID[:]) {
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

// committed remembers the newest messages of a batch that was stored in an
// epoch.
func (g *storage) committed(epoch store.Epoch, messages []store.Message) {
	messages = messages[max(0, len(messages)-maxMarks):]
	g.mu.Lock()
	defer g.mu.Unlock()
	if epoch != g.believed() {
		return // over before the answer came
	}
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
	g.mu.Lock()
	defer g.mu.Unlock()
	epoch := g.believed()
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
			g.say(l, well, epoch)
		}
	}
}

// say is called with mu held.
func (g *storage) say(l *link.Link, well bool, epoch store.Epoch) {
	state := &extension.IMStorageState{Well: proto.Bool(well), Epoch: epoch.ID[:]}
	l.SendMessage(wire.StorageState, 0, state)
	g.told[l] = state
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
		w.storage.committed(b.Epoch, b.Messages)
	}
	return err
}
