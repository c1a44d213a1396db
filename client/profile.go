package client

import (
	"time"

	"teamtalk/internal/im"
	"teamtalk/internal/wire"
)

// Profile is the set of habits by which client types differ on the wire.
// The zero value means Native. Source: docs/protocol/wire.md §1.1, §1.3, §2.
type Profile struct {
	Name       string
	Version    uint16 // header field version
	Reserved   uint16 // header field reserved
	ClientType im.ClientType

	// FirstSeq is where the counter of requests starts and restarts, LastSeq
	// the greatest number it uses.
	FirstSeq, LastSeq uint16
	// RandomSeq: every request after the log-in has a random seq up to
	// LastSeq, and message lists the markers 0xFF01 and 0xFF02.
	RandomSeq bool
	// MatchSeqOnly: a PDU whose seq is awaited is the reply, whatever its
	// command. Other profiles want the right command as well.
	MatchSeqOnly bool

	// Heartbeat is the interval of 0701; HeartbeatTimeout how long after an
	// unanswered one the connection counts as dead.
	Heartbeat, HeartbeatTimeout time.Duration
	// ResendAfter is when SendText repeats a message once, with the same seq
	// and body; 0 is never.
	ResendAfter time.Duration

	// MaxPDU is the longest PDU in bytes the client accepts.
	MaxPDU int
	// OwnIDReceipts: 0302 for a received message names the receiver itself as
	// session instead of the sender.
	OwnIDReceipts bool
	// FromZero: outgoing messages name 0 as their sender.
	FromZero bool
	// TempMsgID is put into msg_id of outgoing messages.
	TempMsgID im.MsgID
	// MergeUsers: the list of all users may come in several PDUs
	// (docs/protocol/defects.md F9).
	MergeUsers bool
}

// Native returns the habits of our own clients on a PC.
func Native() Profile {
	return Profile{
		Name: "native", Version: 1, ClientType: im.Windows,
		FirstSeq: 1, LastSeq: 0xFEFF,
		Heartbeat: 30 * time.Second, HeartbeatTimeout: 60 * time.Second,
		MaxPDU: wire.MaxServerPDU,
	}
}

// Windows returns the habits of the Windows client.
func Windows() Profile {
	p := Native()
	p.Name, p.RandomSeq = "windows", true
	p.Heartbeat, p.ResendAfter = 5*time.Second, 5*time.Second
	return p
}

// Mac returns the habits of the Mac client.
func Mac() Profile {
	p := Native()
	p.Name, p.ClientType, p.FromZero = "mac", im.Mac, true
	p.LastSeq = 0xFFFF
	return p
}

// IOS returns the habits of the iOS client.
func IOS() Profile {
	p := Mac()
	p.Name, p.ClientType = "ios", im.IOS
	p.Version, p.Reserved = 13, 1
	return p
}

// Android returns the habits of the Android client.
func Android() Profile {
	p := Native()
	p.Name, p.ClientType = "android", im.Android
	p.Version, p.Reserved = 6, 0x30
	p.LastSeq, p.MatchSeqOnly = 32766, true
	p.Heartbeat, p.HeartbeatTimeout = 4*time.Minute, 5*time.Second
	p.MaxPDU = wire.MaxAndroid
	p.OwnIDReceipts, p.MergeUsers = true, true
	return p
}

// Web returns the habits of the web client behind the WebSocket gateway,
// which logs in as Windows.
func Web() Profile {
	p := Native()
	p.Name, p.Version = "web", 0
	p.FirstSeq, p.LastSeq = 2, 0xFFFF
	p.Heartbeat = 45 * time.Second
	p.TempMsgID = 1_000_000
	return p
}

// Profiles returns every profile, for flags and tests.
func Profiles() []Profile {
	return []Profile{Native(), Windows(), Mac(), IOS(), Android(), Web()}
}

// ProfileNamed returns the profile of that name.
func ProfileNamed(name string) (Profile, bool) {
	for _, p := range Profiles() {
		if p.Name == name {
			return p, true
		}
	}
	return Profile{}, false
}
