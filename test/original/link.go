package main

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"sync"
	"time"
)

// Commands that are looked at by more than one role.
const (
	heartbeat   = 0x0701
	stopReceive = 0x0702
)

// mark is what our servers write into the reserved field of their heartbeats
// towards servers. Originals never read the field.
const mark = 0x5454

// pdu is one PDU as it travels.
type pdu struct {
	version, flag, service, command, seq, reserved uint16
	body                                           []byte
}

const headerSize = 16

// reply is an empty PDU of the kind that originals make anew.
func newPDU(command, seq uint16, body []byte) pdu {
	return pdu{version: 1, service: command >> 8, command: command, seq: seq, body: body}
}

// withBody is an original's SetPBMsg: all else stays as it was received.
func (p pdu) withBody(m *message) pdu {
	p.body = m.encode()
	return p
}

func (p pdu) frame() []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(headerSize+len(p.body)))
	for _, v := range []uint16{p.version, p.flag, p.service, p.command, p.seq, p.reserved} {
		b = binary.BigEndian.AppendUint16(b, v)
	}
	return append(b, p.body...)
}

func (p pdu) String() string {
	return fmt.Sprintf("%04X seq %d version %d reserved %#x, %d bytes", p.command, p.seq, p.version, p.reserved, len(p.body))
}

func readPDU(r io.Reader) (pdu, error) {
	head := make([]byte, headerSize)
	if _, err := io.ReadFull(r, head); err != nil {
		return pdu{}, err
	}
	length := binary.BigEndian.Uint32(head)
	if length < headerSize || length > 64<<20 {
		violate("a PDU of %d bytes", length)
	}
	u16 := func(at int) uint16 { return binary.BigEndian.Uint16(head[at:]) }
	p := pdu{version: u16(4), flag: u16(6), service: u16(8), command: u16(10), seq: u16(12), reserved: u16(14)}
	p.body = make([]byte, length-headerSize)
	_, err := io.ReadFull(r, p.body)
	return p, err
}

// violate says what the other side did that an original would not have done,
// and ends the process with exit code 1.
func violate(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "VIOLATION: "+format+"\n", args...)
	os.Exit(1)
}

func say(format string, args ...any) {
	fmt.Fprintf(os.Stderr, time.Now().Format("15:04:05.000 ")+format+"\n", args...)
}

// world is the one lock of a role: originals are single-threaded, and every
// handler and timer runs under it.
var world sync.Mutex

// link is one connection, to a server or from a client.
type link struct {
	what     string // for complaints
	conn     net.Conn
	out      chan []byte
	accepts  []uint16 // what the other side may send; nil = anything
	servers  bool     // between servers: heartbeats of ours are marked
	echoes   bool     // this side returns heartbeats byte for byte and begins none: file_server, push_server
	unmarked bool     // this side is a push_server, to which no heartbeat is marked
	lastSent time.Time

	// Guarded by world.
	silent int  // ticks since anything was received
	ours   bool // the other side showed the mark
	first  bool // nothing was received yet
	closed bool
	state  any
	got    func(l *link, p pdu, m *message)
	gone   func(l *link)
}

// start serves a connection; got and gone are called under world.
func (l *link) start() {
	l.out = make(chan []byte, 100_000)
	l.lastSent, l.first = time.Now(), true
	go l.write()
	go l.read()
}

func (l *link) write() {
	for frame := range l.out {
		if frame == nil {
			_ = l.conn.Close()
			return
		}
		if _, err := l.conn.Write(frame); err != nil {
			_ = l.conn.Close()
			return
		}
	}
}

func (l *link) read() {
	r := bufio.NewReader(l.conn)
	for {
		p, err := readPDU(r)
		world.Lock()
		if err != nil || l.closed {
			l.close()
			world.Unlock()
			return
		}
		l.receive(p)
		world.Unlock()
	}
}

// close ends the connection behind what was sent. It is called under world.
func (l *link) close() {
	if l.closed {
		return
	}
	l.closed = true
	l.out <- nil
	if l.gone != nil {
		l.gone(l)
	}
}

// receive checks what must hold for every PDU before the role sees it.
func (l *link) receive(p pdu) {
	l.silent = 0
	if l.servers && p.command == heartbeat {
		if l.first && p.reserved == mark {
			l.ours = true
		}
		l.first = false
		if want := map[bool]uint16{true: mark}[l.ours]; p.reserved != want || p.seq != 0 || len(p.body) != 0 {
			violate("%s: a heartbeat with %v", l.what, p)
		}
		if l.unmarked && p.reserved != 0 {
			violate("%s: a mark for a push_server", l.what)
		}
		if l.echoes {
			l.send(p)
		}
		return
	}
	l.first = false
	switch {
	case l.servers && (p.flag != 0 || p.service != p.command>>8):
		violate("%s: flag %d and service %d in %v", l.what, p.flag, p.service, p)
	case l.ours && (p.version != 1 || p.reserved != 0):
		violate("%s: %v", l.what, p)
	case l.accepts != nil && !slices.Contains(l.accepts, p.command):
		violate("%s: a command that the original does not send: %v", l.what, p)
	}
	shape := originals.commands[p.command]
	if shape == nil {
		l.got(l, p, nil) // what no server knows, from a client
		return
	}
	m, err := decode(shape.name, p.body)
	if err != nil {
		if !l.servers {
			say("%s: %04X dropped: %v", l.what, p.command, err)
			return
		}
		violate("%s: %04X: %v", l.what, p.command, err)
	}
	l.got(l, p, m)
}

// send is called under world.
func (l *link) send(p pdu) {
	if l.closed {
		return
	}
	l.lastSent = time.Now()
	l.out <- p.frame()
}

func (l *link) say(command, seq uint16, m *message) { l.send(newPDU(command, seq, m.encode())) }

// silence is how many ticks of a second an original waits for anything, and
// thrice as many: both sides may be short of time.
const silence = 90

// tick is the timer of a link between servers. It is called under world.
func (l *link) tick() {
	if !l.echoes && time.Since(l.lastSent) >= 5*time.Second {
		l.send(newPDU(heartbeat, 0, nil))
	}
	if l.silent++; l.silent > silence {
		violate("%s: nothing received, not even a heartbeat", l.what)
	}
}

// listen accepts connections for ever.
func listen(addr string, accepted func(net.Conn)) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		fatal("%v", err)
	}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			world.Lock()
			accepted(conn)
			world.Unlock()
		}
	}()
}

// keep dials for ever. up is called under world and returns the link, which
// is not started yet.
func keep(addr string, up func(net.Conn) *link, started func(*link)) {
	go func() {
		for ; ; time.Sleep(200 * time.Millisecond) {
			conn, err := net.Dial("tcp", addr)
			if err != nil {
				continue
			}
			over := make(chan struct{})
			world.Lock()
			l := up(conn)
			gone := l.gone
			l.gone = func(l *link) {
				gone(l)
				close(over)
			}
			l.start()
			started(l)
			world.Unlock()
			<-over
		}
	}()
}

// every calls f under world once a second.
func every(f func()) {
	go func() {
		for range time.Tick(time.Second) {
			world.Lock()
			f()
			world.Unlock()
		}
	}()
}
