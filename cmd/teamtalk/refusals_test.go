package main

import (
	"bytes"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"teamtalk/client/clienttest"
	"teamtalk/cmd/teamtalk/internal/exit"
	"teamtalk/cmd/teamtalk/internal/words"
)

// refusal is what a command line comes to. The words are those on stderr, or on
// stdout for what chat --plain tells as an event.
type refusal struct {
	args   string
	code   int
	en, zh string
	stdout bool
}

// refusals are all that the commands of users and operators refuse. ADDR is a
// msg_server, NOBODY an address where none is, FILE a file, DIR a folder, DATA
// a data folder with the user alice and the group g.
var refusals = []refusal{
	{args: "chat", code: exit.Usage, en: "chat: --user is missing", zh: "chat：缺少 --user"},
	{args: "chat bob --user alice", code: exit.Usage, en: "wrong arguments for teamtalk chat; usage:", zh: "teamtalk chat 的参数不对；用法："},
	{args: "chat --usr alice", code: exit.Usage, en: "unknown flag: --usr; did you mean --user?", zh: "没有选项 --usr；你是想用 --user 吗？"},
	{args: "chat --loud", code: exit.Usage, en: "unknown flag: --loud; see teamtalk chat --help", zh: "没有选项 --loud；参见 teamtalk chat --help"},
	{args: "chat --user", code: exit.Usage, en: "--user needs a value", zh: "--user 需要一个值"},
	{args: "chat --user alice --plain=perhaps", code: exit.Usage, en: `--plain cannot be "perhaps"`, zh: `--plain 不能是 "perhaps"`},
	{args: "chat --user alice", code: exit.Usage, en: "chat needs a terminal; without one, use chat --plain", zh: "chat 需要终端；没有终端时请用 chat --plain"},
	{args: "chat --plain --user alice --addr nowhere", code: exit.Usage, en: `--addr takes HOST:PORT, not "nowhere"`, zh: `--addr 应为 HOST:PORT，而不是 "nowhere"`},
	{args: "chat --plain --user alice --login ftp://x", code: exit.Usage, en: "--login takes a URL", zh: "--login 应为 URL"},
	{args: "chat --plain --user alice --addr ADDR --password-file FILE2", code: exit.Failed, en: "read password file: FILE2: no such file or folder", zh: "读取密码文件：FILE2：文件或目录不存在"},
	{args: "chat --plain --user alice --addr ADDR --password-file EMPTY", code: exit.Usage, en: "the password file EMPTY is empty", zh: "密码文件 EMPTY 是空的"},
	{args: "chat --plain --user alice --addr ADDR --password-file FILE", code: exit.Failed, en: "offline log-in refused: wrong name or password", zh: "offline 登录被拒绝：用户名或密码错误", stdout: true},

	{args: "send FILE --to bob", code: exit.Usage, en: "send: --user is missing", zh: "send：缺少 --user"},
	{args: "send FILE --user alice", code: exit.Usage, en: "send: either --to or --group", zh: "send：请用 --to 或 --group 中的一个"},
	{args: "send FILE --user alice --to bob --group g", code: exit.Usage, en: "send: either --to or --group", zh: "send：请用 --to 或 --group 中的一个"},
	{args: "send FILE --user alice --group g --wait", code: exit.Usage, en: "send: --wait is for one receiver", zh: "send：--wait 只用于单个接收者"},
	{args: "send --user alice --to bob", code: exit.Usage, en: "wrong arguments for teamtalk send", zh: "teamtalk send 的参数不对"},
	{args: "send FILE2 --user alice --to bob", code: exit.Failed, en: "FILE2: no such file or folder", zh: "FILE2：文件或目录不存在"},
	{args: "send DIR --user alice --to bob", code: exit.Usage, en: "DIR is not a regular file", zh: "DIR 不是普通文件"},
	{args: "send FILE --user alice --to bob --addr x", code: exit.Usage, en: "--addr takes HOST:PORT", zh: "--addr 应为 HOST:PORT"},
	{args: "send FILE --user alice --to bob --addr NOBODY --password-file FILE", code: exit.Failed, en: "nobody answers at NOBODY: connection refused", zh: "NOBODY 无应答：连接被拒绝"},
	{args: "send FILE --user alice --to bob --login http://NOBODY --password-file FILE", code: exit.Failed, en: "nobody answers at NOBODY: connection refused", zh: "NOBODY 无应答：连接被拒绝"},
	{args: "send FILE --user alice --to bob --addr ADDR --password-file FILE", code: exit.Failed, en: "log-in refused: wrong name or password", zh: "登录被拒绝：用户名或密码错误"},
	{args: "get --user alice", code: exit.Usage, en: "get: either --from or --group", zh: "get：请用 --from 或 --group 中的一个"},
	{args: "get --from bob", code: exit.Usage, en: "get: --user is missing", zh: "get：缺少 --user"},
	{args: "get a b --user alice --from bob", code: exit.Usage, en: "wrong arguments for teamtalk get", zh: "teamtalk get 的参数不对"},
	{args: "get --user alice --from bob --addr ADDR --password-file FILE", code: exit.Failed, en: "log-in refused: wrong name or password", zh: "登录被拒绝：用户名或密码错误"},

	{args: "user", code: exit.Usage, en: "user: say what to do", zh: "user：请说明要做什么"},
	{args: "user lst", code: exit.Usage, en: `unknown command "lst" for "teamtalk user"; did you mean list?`, zh: `"teamtalk user" 没有命令 "lst"；你是想用 list 吗？`},
	{args: "user dance", code: exit.Usage, en: `unknown command "dance" for "teamtalk user"`, zh: `"teamtalk user" 没有命令 "dance"`},
	{args: "user list --data DIR2", code: exit.Failed, en: "there is no data in DIR2", zh: "DIR2 中没有数据"},
	{args: "user list --data DATA --config x", code: exit.Usage, en: "--data and --config exclude each other", zh: "--data 与 --config 不能同时使用"},
	{args: "user add", code: exit.Usage, en: "user add: give a NAME", zh: "user add：请给出 NAME"},
	{args: "user add x --prefix y", code: exit.Usage, en: "NAME and --prefix exclude each other", zh: "NAME 与 --prefix 不能同时使用"},
	{args: "user add --prefix y", code: exit.Usage, en: "user add: --count must be 1 to", zh: "user add：--count 须为 1 到"},
	{args: "user add --prefix y --count many", code: exit.Usage, en: `--count cannot be "many"`, zh: `--count 不能是 "many"`},
	{args: "user add --prefix y --count 1 --nick z", code: exit.Usage, en: "--nick goes with a NAME", zh: "--nick 只能与 NAME 一起使用"},
	{args: "user add LONG --password x --data DATA", code: exit.Usage, en: "has more than 32 characters", zh: "超过 32 个字符"},
	{args: "user add x --nick LONG --password x --data DATA", code: exit.Usage, en: "has more than 32 characters", zh: "超过 32 个字符"},
	{args: "user add BLANK --password x --data DATA", code: exit.Usage, en: "begins or ends with a blank", zh: "的开头或结尾有空格"},
	{args: "user add NONE --password x --data DATA", code: exit.Usage, en: "user add: the NAME is empty", zh: "user add：NAME 是空的"},
	{args: "user add BYTES --password x --data DATA", code: exit.Usage, en: "is not UTF-8", zh: "不是 UTF-8"},
	{args: "user add alice --password-file EMPTY --data DATA", code: exit.Usage, en: "the password file EMPTY is empty", zh: "密码文件 EMPTY 是空的"},
	{args: "user add alice --data DATA", code: exit.Usage, en: "no password: use --password-file", zh: "没有密码：请用 --password-file"},
	{args: "user add alice --password x --data DATA", code: exit.Exists, en: "user alice exists; left alone", zh: "用户 alice 已存在，未作修改"},
	{args: "user add --prefix u --count 2 --password x --data DATA", code: exit.Exists, en: "2 of 2 accounts existed; left alone", zh: "2 个帐号中有 2 个已存在"},
	{args: "user disable nobody --data DATA", code: exit.Failed, en: `no user "nobody"`, zh: `没有用户 "nobody"`},
	{args: "user passwd nobody --password x --data DATA", code: exit.Failed, en: `no user "nobody"`, zh: `没有用户 "nobody"`},
	{args: "user enable", code: exit.Usage, en: "wrong arguments for teamtalk user enable", zh: "teamtalk user enable 的参数不对"},

	{args: "group", code: exit.Usage, en: "group: say what to do", zh: "group：请说明要做什么"},
	{args: "group add", code: exit.Usage, en: "wrong arguments for teamtalk group add", zh: "teamtalk group add 的参数不对"},
	{args: "group add x", code: exit.Usage, en: "a group needs a NAME and --members", zh: "群需要 NAME 和 --members"},
	{args: "group add x --members alice --type big", code: exit.Usage, en: "--type is normal or tmp", zh: "--type 为 normal 或 tmp"},
	{args: "group add BLANK --members alice", code: exit.Usage, en: "begins or ends with a blank", zh: "的开头或结尾有空格"},
	{args: "group add x --members alice,nobody --data DATA", code: exit.Failed, en: `no user "nobody"`, zh: `没有用户 "nobody"`},
	{args: "group add g --members alice --data DATA", code: exit.Exists, en: "group g exists; left alone", zh: "群 g 已存在，未作修改"},

	{args: "dance", code: exit.Usage, en: `unknown command "dance" for "teamtalk"`, zh: `"teamtalk" 没有命令 "dance"`},
	{args: "help dance", code: exit.Usage, en: "wrong arguments for teamtalk help", zh: "teamtalk help 的参数不对"},
	{args: "migrate --check --undo", code: exit.Usage, en: "none of the others can be", zh: "none of the others can be"},
	{args: "completion", code: exit.Usage, en: "completion: say what to do", zh: "completion：请说明要做什么"},
	{args: "bench dance", code: exit.Usage, en: "bench: name a mode", zh: "bench: name a mode"},
}

// place makes what the command lines of the table name.
func place(t *testing.T) (names map[string]string) {
	t.Helper()
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := free.Addr().String()
	_ = free.Close()
	names = map[string]string{
		"ADDR": clienttest.New().Listen(t), "NOBODY": nobody, "DIR": dir, "DIR2": filepath.Join(dir, "none"),
		"FILE": write("wrong", "wrong password\n"), "FILE2": filepath.Join(dir, "none.txt"), "EMPTY": write("empty", ""),
		"DATA": filepath.Join(dir, "data"), "LONG": strings.Repeat("x", 33), "BLANK": "x ", "NONE": "", "BYTES": "\xff",
	}
	for _, args := range []string{"user add alice --password x", "user add --prefix u --count 2 --password x", "group add g --members alice"} {
		var out bytes.Buffer
		if code := run(t.Context(), append(strings.Fields(args), "--data", names["DATA"]), &out, &out, &out); code != 0 {
			t.Fatal(args, out.String())
		}
	}
	return names
}

// Every refusal has its exit code and one line of words in each language.
func TestRefusals(t *testing.T) {
	t.Setenv("TEAMTALK_PASSWORD", "")
	names := place(t)
	named := func(text string) string {
		for _, name := range []string{"FILE2", "DIR2", "ADDR", "NOBODY", "DIR", "FILE", "EMPTY", "DATA"} {
			text = strings.ReplaceAll(text, name, names[name])
		}
		return text
	}
	for _, r := range refusals {
		for lang, want := range map[words.Lang]string{words.English: r.en, words.Chinese: r.zh} {
			args := strings.Fields(named(r.args))
			for i, a := range args {
				if name, ok := names[a]; ok {
					args[i] = name
				}
			}
			var stdout, stderr bytes.Buffer
			code := run(words.With(t.Context(), lang), args, strings.NewReader(""), &stdout, &stderr)
			if code != r.code {
				t.Errorf("%s: exit code %d, want %d", r.args, code, r.code)
			}
			said := stderr.String()
			if r.stdout {
				if said != "" {
					t.Errorf("%s: said twice: %s", r.args, said)
				}
				said = stdout.String()
			}
			if !strings.Contains(said, named(want)) || strings.Count(said, "\n") != 1 {
				t.Errorf("%s: said %q, want %q", r.args, said, named(want))
			}
			if lang == words.English && strings.ContainsFunc(said, func(r rune) bool { return r >= 0x2e80 }) {
				t.Errorf("%s: Chinese to English readers: %s", r.args, said)
			}
		}
	}
}

// Every command understands --version and refuses a flag that nobody has.
func TestEveryCommand(t *testing.T) {
	t.Parallel()
	var all func(path []string)
	all = func(path []string) {
		for _, c := range find(t, path).Commands() {
			if c.Name() == "help" || c.Name() == "completion" || c.Hidden {
				continue
			}
			all(append(slices.Clip(path), c.Name()))
		}
		var stdout, stderr bytes.Buffer
		if code := run(t.Context(), append(path, "--version"), &stderr, &stdout, &stderr); code != 0 || !strings.HasPrefix(stdout.String(), "teamtalk ") {
			t.Errorf("%v --version: %d, %s%s", path, code, stdout.String(), stderr.String())
		}
		stderr.Reset()
		if code := run(t.Context(), append(path, "--no-such-flag"), &stderr, &stdout, &stderr); code != exit.Usage || strings.Count(stderr.String(), "\n") != 1 {
			t.Errorf("%v --no-such-flag: %d, %s", path, code, stderr.String())
		}
	}
	all(nil)
}
