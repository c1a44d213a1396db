package config

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
)

// maxFile bounds what is read as a configuration.
const maxFile = 1 << 20

// Option changes what Load and Parse accept.
type Option func(*parser)

// Lenient makes, if on, keys that nobody declared warnings: for the file of
// another installation, whose keys mean nothing here. A misspelt key then
// leaves its default in force, which is why it is not the rule.
func Lenient(on bool) Option {
	return func(p *parser) { p.lenient = on }
}

// Load reads the file at path and checks it against keys. A file that cannot
// be read or does not fit is an Errors.
func Load(path string, keys Keys, options ...Option) (*File, error) {
	f, err := os.Open(path)
	if err != nil {
		reason := err.Error()
		if pathErr, ok := errors.AsType[*fs.PathError](err); ok {
			reason = pathErr.Err.Error()
		}
		return nil, Errors{{File: path, Reason: reason}}
	}
	defer f.Close()
	return Parse(f, path, keys, options...)
}

// Parse reads a configuration and checks it against keys; name is what
// complaints call it, and relative paths in it count from name's folder. All
// complaints are returned together, as Errors.
func Parse(r io.Reader, name string, keys Keys, options ...Option) (*File, error) {
	text, err := io.ReadAll(io.LimitReader(r, maxFile+1))
	if err != nil {
		return nil, Errors{{File: name, Reason: err.Error()}}
	}
	if len(text) > maxFile {
		return nil, Errors{{File: name, Reason: fmt.Sprintf("is larger than %d bytes", maxFile)}}
	}
	p := parser{file: &File{
		name:   name,
		keys:   keys,
		lines:  map[string]int{},
		values: map[string]any{},
	}, raw: map[string]string{}}
	for _, option := range options {
		option(&p)
	}
	p.readLines(text)
	p.checkNames()
	for i := range keys {
		p.fill(&keys[i])
	}
	p.warnUnused()
	if len(p.errs) > 0 {
		p.errs.sort()
		return nil, p.errs
	}
	p.file.warnings.sort()
	return p.file, nil
}

// parser collects what one file says and what is wrong with it.
type parser struct {
	file *File
	raw  map[string]string // values as they stand in the file; the first of each key
	used []string          // names whose value was asked for
	errs Errors

	lenient bool // a key that nobody declared is a warning
}

func (p *parser) fail(line int, key, format string, args ...any) {
	p.errs = append(p.errs, &Error{File: p.file.name, Line: line, Key: key, Reason: fmt.Sprintf(format, args...)})
}

func (p *parser) warn(line int, key, format string, args ...any) {
	p.file.warnings = append(p.file.warnings,
		&Error{File: p.file.name, Line: line, Key: key, Reason: fmt.Sprintf(format, args...)})
}

// readLines cuts the text into keys and values by the original's rules: "#"
// starts a comment anywhere, the first "=" splits, an empty value counts as
// absent, and the first of equal keys wins.
func (p *parser) readLines(text []byte) {
	text = bytes.TrimPrefix(text, []byte("\xef\xbb\xbf")) // editors on Windows add it
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, maxFile+1)
	n := 0
	for lines.Scan() {
		n++
		content, _, _ := strings.Cut(lines.Text(), "#")
		content = strings.Trim(content, " \t\r")
		if content == "" {
			continue
		}
		key, value, found := strings.Cut(content, "=")
		key, value = strings.TrimRight(key, " \t"), strings.TrimLeft(value, " \t")
		switch {
		case !found:
			word, _, _ := strings.Cut(key, " ")
			if k := p.file.keys.owner(word); k == nil {
				word = "" // it may be a secret that lost its key
			}
			p.fail(n, word, "a line is KEY=value; this one has no \"=\"")
		case key == "":
			p.fail(n, "", "a line is KEY=value; this one has no key")
		case p.raw[key] != "":
			p.warn(n, key, "is given again; the value of line %d counts", p.file.lines[key])
		default:
			p.raw[key], p.file.lines[key] = value, n
		}
	}
	p.file.last = max(n, 1)
}

// checkNames refuses names nobody declared: a misspelt key must not silently
// leave its default in force.
func (p *parser) checkNames() {
	for name, line := range p.file.lines {
		k := p.file.keys.owner(name)
		switch {
		case k == nil:
			hint := ""
			if meant := p.file.keys.suggest(name); meant != "" {
				hint = "; did you mean " + meant + "?"
			}
			if p.lenient {
				p.warn(line, name, "unknown key, ignored%s", hint)
				continue
			}
			p.fail(line, name, "unknown key%s", hint)
		case k.Obsolete:
			p.warn(line, name, "is obsolete and ignored: %s", k.Help)
			p.used = append(p.used, name)
		}
	}
}

// fill stores the values of one declaration. The lists that name instances
// may stand behind the keys they give instances to, so they are read here
// again rather than taken from the values.
func (p *parser) fill(k *Key) {
	switch {
	case k.Obsolete:
	case k.Kind == Servers:
		p.fillServers(k)
	case k.Per != "":
		for _, instance := range p.instances(k.Per) {
			p.fillOne(k, k.expand(instance))
		}
	default:
		p.fillOne(k, k.Name)
	}
}

// instances returns the names a list key holds; a list with a fault has been
// reported and has none.
func (p *parser) instances(list string) []string {
	k := p.file.keys.find(list)
	text := p.raw[list]
	if text == "" {
		text = k.Default
	}
	names, reason := k.list(text)
	if reason != "" {
		return nil
	}
	return names.([]string)
}

func (p *parser) fillOne(k *Key, name string) {
	p.used = append(p.used, name)
	text, line := p.raw[name], p.file.lines[name]
	if k.Kind == Secret {
		text, line = p.secret(name, text)
	}
	if text == "" {
		text = k.Default
	}
	if text == "" {
		if k.Required && line >= 0 {
			p.fail(p.file.last, name, "is missing%s", p.orFile(k, name))
		}
		return
	}
	value, reason := k.convert(text)
	if reason != "" {
		p.fail(max(line, 1), name, "%s", reason)
		return
	}
	p.file.values[name] = value
}

func (p *parser) orFile(k *Key, name string) string {
	if k.Kind == Secret {
		return "; so is " + name + secretFileSuffix
	}
	return ""
}

// secret resolves the file beside a secret. A negative line says that a fault
// was reported already.
func (p *parser) secret(name, text string) (secret string, line int) {
	fileKey := name + secretFileSuffix
	p.used = append(p.used, fileKey)
	path, line := p.raw[fileKey], p.file.lines[fileKey]
	switch {
	case path == "":
		return text, p.file.lines[name]
	case text != "":
		p.fail(line, fileKey, "is given beside %s (line %d); give one of them", name, p.file.lines[name])
		return "", -1
	}
	secret, warning, reason := readSecret(p.file.name, path)
	if warning != "" {
		p.warn(line, fileKey, "%s", warning)
	}
	if reason != "" {
		p.fail(line, fileKey, "%s", reason)
		return "", -1
	}
	return secret, line
}

// fillServers reads numbered pairs upwards from 1 and stops at the first
// missing one.
func (p *parser) fillServers(k *Key) {
	host, port := Key{Kind: Host}, Key{Kind: Port}
	addrs := []string{}
	for n := 1; ; n++ {
		names := [2]string{fmt.Sprintf("%sIP%d", k.Name, n), fmt.Sprintf("%sPort%d", k.Name, n)}
		if p.raw[names[0]] == "" || p.raw[names[1]] == "" {
			break
		}
		p.used = append(p.used, names[:]...)
		for i, half := range []*Key{&host, &port} {
			if _, reason := half.convert(p.raw[names[i]]); reason != "" {
				p.fail(p.file.lines[names[i]], names[i], "%s", reason)
			}
		}
		addrs = append(addrs, join(p.raw[names[0]], p.raw[names[1]]))
	}
	if int64(len(addrs)) < k.Min {
		p.fail(p.file.last, fmt.Sprintf("%sIP%d", k.Name, len(addrs)+1),
			"is missing or has no %sPort%d beside it; the least number of such pairs is %d", k.Name, len(addrs)+1, k.Min)
	}
	p.file.values[k.Name] = addrs
}

// warnUnused names the keys that are known but have no effect in this file:
// halves of pairs, pairs behind a gap, instances that are not listed.
func (p *parser) warnUnused() {
	for name, line := range p.file.lines {
		k := p.file.keys.owner(name)
		if k == nil || p.raw[name] == "" || slices.Contains(p.used, name) {
			continue
		}
		if k.Per != "" {
			p.warn(line, name, "has no effect: %s does not list it", k.Per)
			continue
		}
		p.warn(line, name, "has no effect: pairs are read upwards from 1 and one before it, or its other half, is missing")
	}
}
