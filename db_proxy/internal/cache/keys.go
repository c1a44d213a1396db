package cache

import (
	"fmt"
	"strconv"

	"teamtalk/db_proxy/internal/store"
	"teamtalk/internal/im"
)

// The keys and fields of docs/protocol/storage.md §5.

func msgIDKey(r *Reservation) string {
	if r.Conv.Kind == im.Group {
		return "group_msg_id_" + decimal(r.Conv.Group)
	}
	return "msg_id_" + decimal(r.Relation)
}

func unreadKey(user im.UserID) string { return "unread_" + decimal(user) }

func groupTotalKey(group im.GroupID) string { return decimal(group) + "_im_group_msg" }

func groupReadKey(user im.UserID, group im.GroupID) string {
	return decimal(user) + "_" + decimal(group) + "_im_user_group"
}

// sequenceKey names the sequence of those who write counts of a conversation.
// No original knows it.
func sequenceKey(conv im.Conversation) string {
	if conv.Kind == im.Group {
		return "unread_seq_group_" + decimal(conv.Group)
	}
	return "unread_seq_" + decimal(conv.Pair.Small) + "_" + decimal(conv.Pair.Big)
}

func memberKey(group im.GroupID) string { return fmt.Sprintf("group_member_%d", group) }

func shieldKey(group im.GroupID) string { return fmt.Sprintf("group_set_%d", group) }

func userTokenKey(user im.UserID) string { return fmt.Sprintf("device_%d", user) }

func tokenUserKey(token string) string { return "device_" + token }

// countField is the only field of the group counters.
const countField = "count"

// markField in unread_<user> says that the hash holds every unread count of
// the user; its value is markPrefix and the Unix time it was built. An
// original reader takes the field for user 0 and the value for the number 0,
// and so ignores it.
const (
	markField  = "_complete"
	markPrefix = "at:"
)

func decimal[N ~uint32](n N) string { return strconv.FormatUint(uint64(n), 10) }

func sessionOf(user im.UserID, kind im.Kind, peer uint32) store.SessionKey {
	return store.SessionKey{User: user, Kind: kind, Peer: peer}
}

// parseCount reads a number as this package writes it.
func parseCount(s string) (uint32, bool) {
	n, err := strconv.ParseUint(s, 10, 32)
	return uint32(n), err == nil
}
