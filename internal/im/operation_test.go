package im

import (
	"encoding/binary"
	"slices"
	"testing"
	"time"
)

const uuid7 = "01890A5D-ac96-774b-bcce-b302099a8057"

// One id that a client gives is another operation in every conversation, and
// for everybody who may give one.
func TestOperationIDsBelongToAConversation(t *testing.T) {
	t.Parallel()
	for _, given := range []string{"same-1", uuid7, "e2c7e3f0-58a1-4a31-9d0b-7a3a6a5b2c11", ""} {
		seen := map[OperationID]string{}
		add := func(origin Origin, conv Conversation) {
			id := OperationOf(origin, conv, given)
			if other := seen[id]; other != "" {
				t.Errorf("%q: %s of %s and %s are one operation", given, origin, conv, other)
			}
			seen[id] = conv.String()
			if again := OperationOf(origin, conv, given); again != id {
				t.Errorf("%q in %s: %x, then %x", given, conv, id, again)
			}
			if id == FormerOperationOf(given) {
				t.Errorf("%q in %s has its former id", given, conv)
			}
		}
		for peer := UserID(2); peer <= 21; peer++ {
			add(OfClient, SingleOf(1, peer))
			add(OfClient, GroupOf(GroupID(peer)))
		}
		add(OfFile, SingleOf(1, 2))
		add(OfAPIKey("a"), SingleOf(1, 2))
		add(OfAPIKey("b"), SingleOf(1, 2))
	}
	if OperationOf(OfClient, SingleOf(1, 2), "x") != OperationOf(OfClient, SingleOf(2, 1), "x") {
		t.Error("the two users of a pair mean different operations")
	}
}

func TestOperationIDsRiseWithTheUUID(t *testing.T) {
	t.Parallel()
	conv := SingleOf(1, 2)
	id := OperationOf(OfClient, conv, uuid7)
	if id != OperationOf(OfClient, conv, "01890a5dac96774bbcceb302099a8057") {
		t.Error("a UUID written in another way is another operation")
	}
	if got := binary.BigEndian.Uint64(append([]byte{0, 0}, id[:6]...)); got != 0x01890a5dac96 {
		t.Errorf("begins with %#x", got)
	}
	if at, ok := id.Time(); !ok || at.UnixMilli() != 0x01890a5dac96 {
		t.Errorf("was made at %v, %v", at, ok)
	}
	for _, other := range []string{"1", uuid7[:35], "not hexadecimal, thirty-two byte", "01890a5d-ac96-474b-bcce-b302099a8057"} {
		if at, ok := OperationOf(OfClient, conv, other).Time(); ok {
			t.Errorf("%s was made at %v", other, at)
		}
	}
}

// The ids of earlier versions are found in databases: they never change.
func TestFormerOperationIDs(t *testing.T) {
	t.Parallel()
	for given, want := range map[string]OperationID{
		uuid7:    {0x01, 0x89, 0x0a, 0x5d, 0xac, 0x96, 0x77, 0x4b, 0xbc, 0xce, 0xb3, 0x02, 0x09, 0x9a, 0x80, 0x57},
		"same-1": {0xa4, 0x99, 0x0a, 0x5f, 0xb4, 0x12, 0x39, 0x18, 0xba, 0x19, 0xdb, 0xb3, 0xff, 0x9d, 0x5c, 0xf5},
	} {
		if got := FormerOperationOf(given); got != want {
			t.Errorf("%s: %x, want %x", given, got, want)
		}
	}
}

func TestNewOperationIDs(t *testing.T) {
	t.Parallel()
	noon := time.Date(2024, 3, 1, 12, 0, 0, 0, time.UTC)
	var ids []OperationID
	for i := range 100 {
		at := noon.Add(time.Duration(i) * time.Millisecond)
		id := NewOperationID(at)
		if made, ok := id.Time(); !ok || !made.Equal(at) || id[6]>>4 != 7 || id[8]>>6 != 2 {
			t.Fatalf("%x is no UUID of version 7", id)
		}
		if slices.Contains(ids, id) {
			t.Fatal("one id twice")
		}
		ids = append(ids, id)
	}
	if !slices.IsSortedFunc(ids, OperationID.Compare) {
		t.Error("they do not rise with time")
	}
}
