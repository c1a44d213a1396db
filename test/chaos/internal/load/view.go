//go:build unix

package load

import (
	"math/bits"

	"teamtalk/internal/im"
)

// view is what a terminal knows of a conversation.
type view struct {
	words   []uint64 // a bit for every id it has seen
	highest im.MsgID
	pushed  im.MsgID // the highest that was pushed, marked, or acknowledged as its own
	asked   im.MsgID // history was read up to here
	read    im.MsgID // reported as read
}

// view returns the view of a conversation. Called with mu held.
func (p *player) view(conv im.Conversation) *view {
	v := p.views[conv]
	if v == nil {
		v = &view{}
		p.views[conv] = v
	}
	return v
}

func (v *view) add(id im.MsgID) {
	if id == 0 || id > im.MaxMsgID {
		return
	}
	for len(v.words) <= int(id/64) {
		v.words = append(v.words, make([]uint64, max(len(v.words), 4))...)
	}
	v.words[id/64] |= 1 << (id % 64)
	v.highest = max(v.highest, id)
}

// forget leaves of what was seen and read the ids up to one.
func (v *view) forget(last im.MsgID) {
	w := int(last / 64)
	if w < len(v.words) {
		v.words[w] &= ^uint64(0) >> (63 - last%64)
		clear(v.words[w+1:])
	}
	v.highest, v.asked, v.read = min(v.highest, last), min(v.asked, last), min(v.read, last)
}

// missing returns the highest id up to top and above floor that is not known;
// 0 if there is none.
func (v *view) missing(top, floor im.MsgID) im.MsgID {
	for top > floor {
		w := int(top / 64)
		unknown := ^uint64(0)
		if w < len(v.words) {
			unknown = ^v.words[w]
		}
		unknown &= ^uint64(0) >> (63 - top%64) // what is above top does not count
		if unknown != 0 {
			if id := im.MsgID(w*64 + 63 - bits.LeadingZeros64(unknown)); id > floor {
				return id
			}
			return 0
		}
		if w == 0 {
			return 0
		}
		top = im.MsgID(w*64 - 1)
	}
	return 0
}
