package command

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"teamtalk/internal/im"
	"teamtalk/internal/wire"
	"teamtalk/pb/file"
)

// waitingFiles asks what waits for a user, newest first.
func (e *env) waitingFiles(user im.UserID) []string {
	e.t.Helper()
	res := new(file.IMFileHasOfflineRsp)
	e.ok(wire.FileHasOfflineReq, &file.IMFileHasOfflineReq{UserId: proto.Uint32(uint32(user)), AttachData: attach}, res)
	if res.GetUserId() != uint32(user) || string(res.GetAttachData()) != string(attach) {
		e.t.Errorf("answer %v", res)
	}
	names := []string{}
	for _, f := range res.GetOfflineFileList() {
		names = append(names, f.GetTaskId()+"="+f.GetFileName())
	}
	return names
}

func (e *env) tellFile(command wire.Command, m proto.Message) error {
	e.t.Helper()
	body, err := proto.Marshal(m)
	if err != nil {
		e.t.Fatal(err)
	}
	answer, err := e.rows[command].Query(e.t.Context(), &Request{Command: command, Body: body, Capable: true})
	if answer != nil {
		e.t.Errorf("%v is answered: %v", command, answer)
	}
	return err
}

func TestOfflineFiles(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	add := func(from, to im.UserID, task, name string, expires uint32) error {
		return e.tellFile(wire.FileAddOfflineReq, &file.IMFileAddOfflineReq{
			FromUserId: proto.Uint32(uint32(from)), ToUserId: proto.Uint32(uint32(to)), TaskId: &task, FileName: &name,
			FileSize: proto.Uint32(5), FileServer: proto.String("10.0.0.1:8600"), Expires: &expires,
		})
	}
	remove := func(from, to im.UserID, task string) error {
		return e.tellFile(wire.FileDelOfflineReq, &file.IMFileDelOfflineReq{
			FromUserId: proto.Uint32(uint32(from)), ToUserId: proto.Uint32(uint32(to)), TaskId: &task,
		})
	}
	list := func(user im.UserID, want ...string) {
		t.Helper()
		if got := e.waitingFiles(user); strings.Join(got, " ") != strings.Join(want, " ") {
			t.Errorf("waiting for %d: %v, want %v", user, got, want)
		}
	}
	ok := func(err error) {
		t.Helper()
		if err != nil {
			t.Error(err)
		}
	}
	soon := uint32(e.seconds.Load()) + 3600
	list(e.bob)
	ok(add(e.alice, e.bob, "t1", "a.txt", soon))
	ok(add(e.alice, e.bob, "t1", "a.txt", soon)) // a repeat
	ok(add(e.carol, e.bob, "t2", "'; DROP TABLE IMUser; --", 0))
	ok(add(e.bob, e.carol, "t3", "报告.pdf", 0))
	list(e.bob, "t2='; DROP TABLE IMUser; --", "t1=a.txt")
	list(e.carol, "t3=报告.pdf")
	ok(remove(e.carol, e.bob, "t1"))
	ok(remove(e.alice, e.carol, "t1"))
	ok(remove(e.alice, e.bob, "' OR '1'='1"))
	list(e.bob, "t2='; DROP TABLE IMUser; --", "t1=a.txt")
	ok(remove(e.carol, e.bob, "t2"))
	ok(remove(e.carol, e.bob, "t2"))
	list(e.bob, "t1=a.txt")
	e.pass(2 * time.Hour)
	list(e.bob)
	for name, err := range map[string]error{
		"of nobody": add(0, e.bob, "t", "a", 0), "for nobody": add(e.alice, 0, "t", "a", 0), "no task": add(e.alice, e.bob, "", "a", 0),
		"long name": add(e.alice, e.bob, "t", strings.Repeat("a", 257), 0), "no text": add(e.alice, e.bob, "t", "\xff", 0),
	} {
		if im.CodeOf(err) != im.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
}
