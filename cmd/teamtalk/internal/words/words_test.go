package words

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"teamtalk/client"
	"teamtalk/internal/im"
	"teamtalk/pb/basedefine"
)

// verb is one of a format, with the number of its argument if that is named.
var verb = regexp.MustCompile(`%(?:\.\d+)?(?:\[(\d+)\])?([a-z])`)

// verbs returns the verb of each argument, in the order of the arguments.
func verbs(text string) string {
	of, at := map[int]string{}, 0
	for _, m := range verb.FindAllStringSubmatch(strings.ReplaceAll(text, "%%", ""), -1) {
		at++
		if m[1] != "" {
			_, _ = fmt.Sscan(m[1], &at)
		}
		of[at] = m[2]
	}
	var all []string
	for i := range 10 {
		all = append(all, of[i])
	}
	return strings.Trim(strings.Join(all, ","), ",")
}

// Every text is there in every language and takes the same arguments.
func TestEveryTextInEveryLanguage(t *testing.T) {
	t.Parallel()
	seen := map[string]ID{}
	for id := NoWords + 1; id < textsEnd; id++ {
		en := text(id, English)
		for l := range languages {
			said := text(id, l)
			if said == "" {
				t.Errorf("text %d (%q) has no words in language %d", id, en, l)
			}
			if id != LongDate && id != ShortDate && verbs(said) != verbs(en) {
				t.Errorf("%q takes %s, %q takes %s", en, verbs(en), said, verbs(said))
			}
		}
		if other, ok := seen[en]; ok && len(en) > 8 {
			t.Errorf("texts %d and %d are the same: %q", other, id, en)
		}
		seen[en] = id
	}
	if n := len(refusals) + len(screens); n != int(textsEnd)-1 {
		t.Errorf("%d texts in the tables, %d are declared", n, textsEnd-1)
	}
}

// Every code that a server can answer has words of its own.
func TestEveryCodeHasWords(t *testing.T) {
	t.Parallel()
	said := map[string]string{}
	check := func(what, text string) {
		t.Helper()
		if strings.ContainsAny(text, "0123456789_") || said[text] != "" {
			t.Errorf("%s is said as %q, as %s", what, text, said[text])
		}
		said[text] = what
	}
	for l := range languages {
		for code := im.OK + 1; code.String() != "unknown"; code++ {
			check(code.String(), l.Explain(&client.NackError{Code: code}))
		}
		for number, name := range basedefine.ResultType_name {
			if number != 0 {
				check(name, l.Explain(&client.LoginError{Code: basedefine.ResultType(number), Text: "用户名/密码错误"}))
			}
		}
		for number, name := range basedefine.KickReasonType_name {
			check(name, l.Explain(&client.KickedError{Reason: basedefine.KickReasonType(number)}))
		}
	}
	if got := English.Explain(&client.LocateError{Code: 2, Msg: "所有的消息服务器都满"}); got != English.Say(MsgServersFull) {
		t.Errorf("a full login_server: %q", got)
	}
	if got := English.Explain(&client.LoginError{Code: 99, Text: "不知道"}); got != English.Say(LoginRefused, 99) {
		t.Errorf("a code of nobody: %q", got)
	}
}

func TestLocale(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		env  map[string]string
		want Lang
	}{
		{nil, English},
		{map[string]string{"LANG": "zh_CN.UTF-8"}, Chinese},
		{map[string]string{"LANG": "zh_TW.utf8"}, Chinese},
		{map[string]string{"LANG": "zh-Hans"}, Chinese},
		{map[string]string{"LANG": "zh"}, Chinese},
		{map[string]string{"LANG": "zh_CN.GB18030"}, English}, // could not show it
		{map[string]string{"LANG": "zha_CN.UTF-8"}, English},
		{map[string]string{"LANG": "C.UTF-8"}, English},
		{map[string]string{"LANG": "de_DE.UTF-8"}, English},
		{map[string]string{"LANG": "en_US.UTF-8", "LC_MESSAGES": "zh_CN.UTF-8"}, Chinese},
		{map[string]string{"LANG": "zh_CN.UTF-8", "LC_MESSAGES": "en_US.UTF-8"}, English},
		{map[string]string{"LANG": "zh_CN.UTF-8", "LC_MESSAGES": "zh_CN.UTF-8", "LC_ALL": "C"}, English},
		{map[string]string{"LANG": "en_US.UTF-8", "LC_ALL": "zh_CN.UTF-8"}, Chinese},
	} {
		if got := FromEnv(func(name string) string { return c.env[name] }); got != c.want {
			t.Errorf("%v: %d, want %d", c.env, got, c.want)
		}
	}
}

// An error with words keeps its causes, and a cause is explained in the
// language of the whole.
func TestError(t *testing.T) {
	t.Parallel()
	err := fmt.Errorf("wrapped: %w", Errorf(FileTrouble, "a.txt", client.ErrOffline))
	if !errors.Is(err, client.ErrOffline) {
		t.Error("the cause is lost")
	}
	for l, want := range []string{"wrapped: a.txt: not connected", "wrapped: a.txt：未连接"} {
		if got := Lang(l).Explain(err); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	if got := English.Explain(errors.Join(errors.New("store: one"), errors.New("two"))); got != "one two" {
		t.Errorf("%q", got)
	}
	if Of(With(t.Context(), Chinese)) != Chinese || Of(t.Context()) != English {
		t.Error("the context has another language")
	}
}
