package words

import (
	"context"
	"fmt"
	"strings"
)

// Lang is a language.
type Lang int

// The languages. The zero value is English.
const (
	English Lang = iota
	Chinese
	languages // how many there are
)

// FromEnv returns the language of a user: of the first of LC_ALL, LC_MESSAGES
// and LANG that is set, English if we do not speak it or the terminal cannot
// show it.
func FromEnv(getenv func(string) string) Lang {
	for _, name := range []string{"LC_ALL", "LC_MESSAGES", "LANG"} {
		if locale := getenv(name); locale != "" {
			return ofLocale(strings.ToLower(locale))
		}
	}
	return English
}

// ofLocale returns the language of a locale such as zh_cn.utf-8@radical. Our
// texts are UTF-8, and so are locales that name no character set.
func ofLocale(locale string) Lang {
	locale, _, _ = strings.Cut(locale, "@")
	name, charset, _ := strings.Cut(locale, ".")
	language, _, _ := strings.Cut(strings.ReplaceAll(name, "-", "_"), "_")
	if language == "zh" && (charset == "" || strings.ReplaceAll(charset, "-", "") == "utf8") {
		return Chinese
	}
	return English
}

type langKey struct{}

// With returns a context for a command of a user of this language.
func With(ctx context.Context, l Lang) context.Context {
	return context.WithValue(ctx, langKey{}, l)
}

// Of returns the language of With, English without it.
func Of(ctx context.Context) Lang {
	l, _ := ctx.Value(langKey{}).(Lang)
	return l
}

// Say returns a text of the tables with its arguments. An argument that is an
// error is explained.
func (l Lang) Say(id ID, args ...any) string {
	text := text(id, l)
	if len(args) == 0 {
		return text
	}
	said := make([]any, len(args))
	for i, a := range args {
		said[i] = a
		if err, ok := a.(error); ok {
			said[i] = l.Explain(err)
		}
	}
	return fmt.Sprintf(text, said...)
}

// Error is an error that has words in each language.
type Error struct {
	ID   ID
	Args []any // errors among them are its causes
}

// Errorf returns an Error; the arguments are those of the text.
func Errorf(id ID, args ...any) *Error { return &Error{id, args} }

// Error returns the English words.
func (e *Error) Error() string { return English.Say(e.ID, e.Args...) }

// Unwrap returns the errors among the arguments.
func (e *Error) Unwrap() []error {
	var causes []error
	for _, a := range e.Args {
		if err, ok := a.(error); ok {
			causes = append(causes, err)
		}
	}
	return causes
}
