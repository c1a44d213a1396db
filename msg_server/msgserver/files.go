package msgserver

import (
	"context"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync"

	"google.golang.org/protobuf/proto"

	"teamtalk/internal/link"
	"teamtalk/internal/transport"
	"teamtalk/internal/wire"
	"teamtalk/pb/basedefine"
	"teamtalk/pb/extension"
	"teamtalk/pb/server"
)

// fileServers are the links to the file_servers, and the addresses under which
// clients reach them. Safe from any goroutine.
type fileServers struct {
	server *Server
	addrs  []string

	mu     sync.RWMutex // guards the fields below; a leaf
	live   []*fileServer
	owed   []*extension.IMFileTaskDelete // while one of them is away, newest last
	places map[*link.Link]place          // of those that take files of messages
}

// maxOwed is how many deletions are kept for file_servers that are away; what
// is forgotten ends at its time.
const maxOwed = 1000

// fileServer is one of them. addrs is replaced, never appended to: a
// file_server that comes back may have moved.
// Source: docs/protocol/defects.md G7.
type fileServer struct {
	link  *link.Link
	addrs []*basedefine.IpAddr // for clients; empty until it said so
}

func newFileServers(s *Server, addrs []string) *fileServers {
	addrs = slices.Clone(addrs)
	slices.Sort(addrs)
	return &fileServers{server: s, addrs: slices.Compact(addrs), places: map[*link.Link]place{}}
}

func (fs *fileServers) run(ctx context.Context, engine *transport.Engine) {
	fs.server.node.KeepAll(ctx, engine, "file_server", fs.addrs, fs)
}

// LinkUp is link.Handler's: it asks for the addresses, 0733.
func (fs *fileServers) LinkUp(l *link.Link) {
	l.SendMessage(wire.FileServerAddrsReq, 0, &server.IMFileServerIPReq{})
}

// LinkDown is link.Handler's: whoever waits for this file_server is refused.
func (fs *fileServers) LinkDown(l *link.Link) {
	fs.mu.Lock()
	fs.live = slices.DeleteFunc(slices.Clone(fs.live), func(f *fileServer) bool { return f.link == l })
	delete(fs.places, l)
	fs.mu.Unlock()
	fs.server.files.lost(l)
}

// fileAnswers is the table of what file_servers send.
// Source: docs/protocol/commands.md.
func (s *Server) fileAnswers() map[wire.Command]func(l *link.Link, body []byte) {
	return map[wire.Command]func(*link.Link, []byte){
		wire.FileServerAddrsRes: s.fileServers.announced,
		wire.FileTransferRes:    s.taskMade,
		wire.FileTaskRes:        s.fileKnown,
		wire.FileServerInfo:     s.fileServers.placed,
		wire.FileStored:         s.fileStored,
		wire.FileMoved:          s.fileMoved,
	}
}

// LinkPDU is link.Handler's.
func (fs *fileServers) LinkPDU(l *link.Link, pdu wire.PDU) {
	if handle := fs.server.ofFiles[pdu.Command]; handle != nil {
		handle(l, pdu.Body)
		return
	}
	fs.server.metrics.dropped("unknown_command")
}

// announced takes the addresses of a file_server, 0734. From then on it gets
// tasks.
func (fs *fileServers) announced(l *link.Link, body []byte) {
	m := new(server.IMFileServerIPRsp)
	if err := proto.Unmarshal(body, m); err != nil || len(m.GetIpAddrList()) == 0 {
		fs.server.metrics.dropped("bad_body")
		return
	}
	fs.mu.Lock()
	defer fs.mu.Unlock()
	fs.live = append(slices.DeleteFunc(slices.Clone(fs.live), func(f *fileServer) bool { return f.link == l }),
		&fileServer{link: l, addrs: m.GetIpAddrList()})
	if l.Has(link.CapFiles) {
		for _, d := range fs.owed { // deleting twice does no harm
			l.SendMessage(wire.FileTaskDelete, 0, d)
		}
	}
	if len(fs.live) == len(fs.addrs) {
		fs.owed = nil
	}
}

// all returns those that are ready. The slice must not be changed.
func (fs *fileServers) all() []*fileServer {
	fs.mu.RLock()
	defer fs.mu.RUnlock()
	return fs.live
}

// any returns one of them at random; nil if there is none.
func (fs *fileServers) any() *fileServer {
	live := fs.all()
	if len(live) == 0 {
		return nil
	}
	return live[rand.IntN(len(live))]
}

// by returns the one behind a link; nil if it is gone.
func (fs *fileServers) by(l *link.Link) *fileServer {
	for _, f := range fs.all() {
		if f.link == l {
			return f
		}
	}
	return nil
}

// ours returns those that answer questions about files.
func (fs *fileServers) ours() (capable []*fileServer) {
	for _, f := range fs.all() {
		if f.link.Has(link.CapFiles) {
			capable = append(capable, f)
		}
	}
	return capable
}

// forget tells them that nobody wants a file any more, 058C; one that is away
// hears of it when it is back.
func (fs *fileServers) forget(task string, user uint32) {
	d := &extension.IMFileTaskDelete{TaskId: proto.String(task), UserId: proto.Uint32(user)}
	fs.mu.Lock()
	defer fs.mu.Unlock()
	for _, f := range fs.live {
		if f.link.Has(link.CapFiles) {
			f.link.SendMessage(wire.FileTaskDelete, 0, d)
		}
	}
	if len(fs.live) < len(fs.addrs) {
		fs.owed = append(fs.owed[max(0, len(fs.owed)-maxOwed+1):], d)
	}
}

// name is how a file_server is recorded: its first address.
func (f *fileServer) name() string { return addrText(f.addrs[0]) }

func addrText(a *basedefine.IpAddr) string {
	return net.JoinHostPort(a.GetIp(), strconv.Itoa(int(a.GetPort())))
}

// locate returns the addresses of the file_server of that name. One that is
// not linked is where it was; without a name, or behind a shared store, any
// will do.
func (fs *fileServers) locate(name string) []*basedefine.IpAddr {
	for _, f := range fs.all() {
		if slices.ContainsFunc(f.addrs, func(a *basedefine.IpAddr) bool { return addrText(a) == name }) {
			return f.addrs
		}
	}
	if at, err := netip.ParseAddrPort(name); err == nil {
		return []*basedefine.IpAddr{{Ip: proto.String(at.Addr().String()), Port: proto.Uint32(uint32(at.Port()))}}
	}
	if f := fs.any(); f != nil {
		return f.addrs
	}
	return nil
}
