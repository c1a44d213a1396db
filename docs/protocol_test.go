package docs_test

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"teamtalk/internal/wire"
	_ "teamtalk/pb/file"
	_ "teamtalk/pb/other"
)

// ofTheOriginal reports whether a command is TeamTalk's own.
func ofTheOriginal(c wire.Command) bool { return c&0xff < 0x80 }

// commandRow is a line of the table of TeamTalk's commands: id, name, message,
// direction, handled by, status.
var commandRow = regexp.MustCompile(
	`(?m)^\| ([0-9A-F]{4}) \| (\w+) \| ([\w.]+) \| ([^|]+) \| ([^|]+) \| ([^|]+) \|$`)

// TestCommands compares the table of TeamTalk's commands with the enums of the
// protocol, the messages, and with what each role really handles.
func TestCommands(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("protocol.md")
	if err != nil {
		t.Fatal(err)
	}
	inEnums := commandsOfTheEnums(t)
	handled := map[string][]wire.Command{} // by "role ← sender"
	for _, cells := range commandRow.FindAllStringSubmatch(string(text), -1) {
		id, err := strconv.ParseUint(cells[1], 16, 16)
		if err != nil {
			t.Fatal(err)
		}
		c := wire.Command(id)
		if !inEnums[c] {
			t.Errorf("%s stands twice, or is in no enum", cells[1])
		}
		delete(inEnums, c)
		if c.String() != cells[2] {
			t.Errorf("%s is %v, not %s", cells[1], c, cells[2])
		}
		if _, err := protoregistry.GlobalTypes.FindMessageByName(protoreflect.FullName(cells[3])); err != nil {
			t.Errorf("%s: %s: %v", cells[1], cells[3], err)
		}
		if !strings.Contains(cells[4], "→") && !strings.Contains(cells[4], "↔") && c != wire.Heartbeat {
			t.Errorf("%s has no direction", cells[1])
		}
		for side := range strings.SplitSeq(cells[5], ", ") {
			handled[side] = append(handled[side], c)
		}
	}
	for c := range inEnums {
		t.Errorf("%v (%04X) is not in protocol.md", c, uint16(c))
	}
	for side, want := range registered(t) {
		got := handled[side]
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%s: protocol.md has %s\nthe role has        %s", side, hex(got), hex(want))
		}
	}
}

func hex(commands []wire.Command) string {
	var all []string
	for _, c := range commands {
		all = append(all, fmt.Sprintf("%04X", uint16(c)))
	}
	return strings.Join(all, " ")
}

// commandsOfTheEnums are the values of LoginCmdID, BuddyListCmdID and so on.
func commandsOfTheEnums(t *testing.T) map[wire.Command]bool {
	t.Helper()
	file, err := protoregistry.GlobalFiles.FindFileByPath("IM.BaseDefine.proto")
	if err != nil {
		t.Fatal(err)
	}
	all := map[wire.Command]bool{}
	for i := range file.Enums().Len() {
		if enum := file.Enums().Get(i); strings.HasSuffix(string(enum.Name()), "CmdID") {
			for j := range enum.Values().Len() {
				all[wire.Command(enum.Values().Get(j).Number())] = true
			}
		}
	}
	return all
}

// tables is a role that says what it handles, by who sends it.
type tables interface {
	role
	Commands() map[string][]wire.Command
}

// registered asks the roles for their tables.
func registered(t *testing.T) map[string][]wire.Command {
	t.Helper()
	all := map[string][]wire.Command{}
	ask := func(name string, r tables, err error) {
		runOnce(t, r, err)
		for sender, commands := range r.Commands() {
			commands = slices.DeleteFunc(commands, func(c wire.Command) bool { return !ofTheOriginal(c) })
			all[name+" ← "+sender] = commands
		}
	}
	reg := func() *recorder {
		return &recorder{Registry: prometheus.NewRegistry(), t: t, metrics: map[string]string{}}
	}
	login, err := newLogin(t, reg())
	ask("login_server", login, err)
	msg, err := newMsg(t, reg())
	ask("msg_server", msg, err)
	route, err := newRoute(t, reg())
	ask("route_server", route, err)
	db, err := newDB(t, reg())
	ask("db_proxy", db, err)
	files, err := newFile(t, reg())
	ask("file_server", files, err)
	push, err := newPush(t, reg())
	ask("push_server", push, err)
	return all
}
