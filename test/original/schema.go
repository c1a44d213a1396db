package main

import (
	"bufio"
	_ "embed"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

//go:embed schema.txt
var schemaText string

// label is how often a field stands in a message.
type label int

const (
	required label = iota
	optional
	repeated
)

// field is a line of the schema.
type field struct {
	number int
	name   string
	kind   string // uint32, string, bytes, enum or msg
	of     string // the enum or message
	label  label
}

// shape is a message of the schema.
type shape struct {
	name   string
	fields []field // ascending
}

func (s *shape) byName(name string) *field {
	for i := range s.fields {
		if s.fields[i].name == name {
			return &s.fields[i]
		}
	}
	panic(s.name + " has no field " + name)
}

// schema is everything that originals say to each other.
type schema struct {
	shapes   map[string]*shape // by the name without its package, which is unique
	commands map[uint16]*shape
	enums    map[string][]uint32
}

var originals = parseSchema(schemaText)

func parseSchema(text string) *schema {
	s := &schema{shapes: map[string]*shape{}, commands: map[uint16]*shape{}, enums: map[string][]uint32{}}
	var current *shape
	enum := ""
	for lines := bufio.NewScanner(strings.NewReader(text)); lines.Scan(); {
		words := strings.Fields(lines.Text())
		switch {
		case len(words) == 0 || words[0] == "#":
		case words[0] == "enum":
			enum, current = words[1], nil
		case words[0] == "message":
			current = &shape{name: words[1][strings.LastIndex(words[1], ".")+1:]}
			s.shapes[current.name] = current
			if len(words) > 2 {
				id, _ := strconv.ParseUint(words[2], 0, 16)
				s.commands[uint16(id)] = current
			}
		case current == nil:
			value, _ := strconv.ParseUint(words[0], 10, 32)
			s.enums[enum] = append(s.enums[enum], uint32(value))
		default:
			f := field{name: words[1]}
			f.number, _ = strconv.Atoi(words[0])
			f.kind, f.of, _ = strings.Cut(words[2], ":")
			f.label = map[string]label{"required": required, "optional": optional, "repeated": repeated}[words[3]]
			current.fields = append(current.fields, f)
		}
	}
	return s
}

// message is a message with its values. Reading or writing a field that the
// message does not have is a fault of this program and panics.
type message struct {
	shape  *shape
	values map[string][]any // uint32, string (of string and bytes alike) or *message
}

// build makes a message of name, value pairs: a number, a string, []byte, a
// *message, or a list of one of these.
func build(name string, pairs ...any) *message {
	s := originals.shapes[name]
	if s == nil {
		panic("no message " + name)
	}
	m := &message{shape: s, values: map[string][]any{}}
	for i := 0; i < len(pairs); i += 2 {
		m.set(pairs[i].(string), pairs[i+1])
	}
	return m
}

func (m *message) set(name string, value any) {
	m.shape.byName(name)
	switch v := value.(type) {
	case nil:
		delete(m.values, name)
	case int:
		m.values[name] = []any{uint32(v)}
	case []byte:
		m.values[name] = []any{string(v)}
	case []uint32:
		m.values[name] = anys(v)
	case []*message:
		m.values[name] = anys(v)
	default:
		m.values[name] = []any{v}
	}
}

func anys[T any](list []T) []any {
	out := make([]any, len(list))
	for i, v := range list {
		out[i] = v
	}
	return out
}

func (m *message) has(name string) bool {
	m.shape.byName(name)
	return len(m.values[name]) > 0
}

func (m *message) num(name string) uint32 {
	if !m.has(name) {
		return 0
	}
	return m.values[name][0].(uint32)
}

func (m *message) text(name string) string {
	if !m.has(name) {
		return ""
	}
	return m.values[name][0].(string)
}

func (m *message) nums(name string) (all []uint32) {
	m.shape.byName(name)
	for _, v := range m.values[name] {
		all = append(all, v.(uint32))
	}
	return all
}

func (m *message) subs(name string) (all []*message) {
	m.shape.byName(name)
	for _, v := range m.values[name] {
		all = append(all, v.(*message))
	}
	return all
}

func (m *message) sub(name string) *message {
	if all := m.subs(name); len(all) > 0 {
		return all[0]
	}
	return nil
}

// clone copies a message, but not those in it.
func (m *message) clone() *message {
	c := &message{shape: m.shape, values: map[string][]any{}}
	for name, values := range m.values {
		c.values[name] = slices.Clone(values)
	}
	return c
}

func (m *message) String() string {
	var b strings.Builder
	b.WriteString(m.shape.name + "{")
	for _, f := range m.shape.fields {
		if v := m.values[f.name]; len(v) > 0 {
			text := fmt.Sprint(v)
			fmt.Fprintf(&b, " %s:%s", f.name, text[:min(len(text), 200)])
		}
	}
	return b.String() + " }"
}

// encode writes the fields in ascending order, lists unpacked.
func (m *message) encode() []byte {
	var out []byte
	for _, f := range m.shape.fields {
		values := m.values[f.name]
		if f.label == required && len(values) != 1 {
			panic(m.shape.name + " without " + f.name)
		}
		for _, v := range values {
			switch v := v.(type) {
			case uint32:
				out = append(out, varint(uint64(f.number)<<3)...)
				out = append(out, varint(uint64(v))...)
			case string:
				out = append(out, varint(uint64(f.number)<<3|2)...)
				out = append(append(out, varint(uint64(len(v)))...), v...)
			case *message:
				body := v.encode()
				out = append(out, varint(uint64(f.number)<<3|2)...)
				out = append(append(out, varint(uint64(len(body)))...), body...)
			}
		}
	}
	return out
}

func varint(v uint64) (out []byte) {
	for ; v >= 0x80; v >>= 7 {
		out = append(out, byte(v)|0x80)
	}
	return append(out, byte(v))
}

// decode reads a message and refuses what an original would not have written:
// a field it does not have, fields out of order, a list that is packed, a
// number that does not fit, an enum out of range, something required missing.
func decode(name string, body []byte) (*message, error) {
	m := build(name)
	last := 0
	for len(body) > 0 {
		tag, rest, err := takeVarint(body)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		number := int(tag >> 3)
		f := m.shape.byNumber(number)
		switch {
		case f == nil:
			return nil, fmt.Errorf("%s: field %d, which the original does not have", name, number)
		case number < last:
			return nil, fmt.Errorf("%s: field %d behind field %d", name, number, last)
		case number == last && f.label != repeated:
			return nil, fmt.Errorf("%s: %s twice", name, f.name)
		}
		last = number
		value, rest, err := f.take(int(tag&7), rest)
		if err != nil {
			return nil, fmt.Errorf("%s.%s: %w", name, f.name, err)
		}
		m.values[f.name] = append(m.values[f.name], value)
		body = rest
	}
	for _, f := range m.shape.fields {
		if f.label == required && len(m.values[f.name]) == 0 {
			return nil, fmt.Errorf("%s: %s is missing", name, f.name)
		}
	}
	return m, nil
}

func (s *shape) byNumber(n int) *field {
	for i := range s.fields {
		if s.fields[i].number == n {
			return &s.fields[i]
		}
	}
	return nil
}

// take reads one value of the field.
func (f *field) take(wireType int, body []byte) (value any, rest []byte, err error) {
	n, rest, err := takeVarint(body)
	if err != nil {
		return nil, nil, err
	}
	if f.kind == "uint32" || f.kind == "enum" {
		switch {
		case wireType != 0:
			return nil, nil, fmt.Errorf("wire type %d", wireType)
		case n > math.MaxUint32:
			return nil, nil, fmt.Errorf("the number %d", n)
		case f.kind == "enum" && !slices.Contains(originals.enums[f.of], uint32(n)):
			return nil, nil, fmt.Errorf("%d is no %s", n, f.of)
		}
		return uint32(n), rest, nil
	}
	if wireType != 2 || n > uint64(len(rest)) {
		return nil, nil, fmt.Errorf("wire type %d, %d of %d bytes", wireType, n, len(rest))
	}
	if f.kind == "msg" {
		m, err := decode(f.of, rest[:n])
		return m, rest[n:], err
	}
	return string(rest[:n]), rest[n:], nil
}

func takeVarint(body []byte) (v uint64, rest []byte, err error) {
	for i, b := range body {
		if i == 10 {
			break
		}
		v |= uint64(b&0x7f) << (7 * i)
		if b < 0x80 {
			return v, body[i+1:], nil
		}
	}
	return 0, nil, fmt.Errorf("a number that does not end")
}
