package pbtest

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// TestMessagesAreTheOriginals compares every message and enum, field by field
// below number 100, with the schema that the simulated originals go by.
func TestMessagesAreTheOriginals(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../test/original/schema.txt")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]bool{}
	scope := ""
	for line := range strings.Lines(string(text)) {
		words := strings.Fields(line)
		switch {
		case len(words) == 0 || words[0] == "#":
		case words[0] == "message" || words[0] == "enum":
			scope = strings.TrimPrefix(words[1], "IM.BaseDefine.")
			want[words[0]+" "+scope] = true
		default:
			want[scope+" "+strings.Join(words, " ")] = true
		}
	}
	got := map[string]bool{}
	eachMessage(func(m protoreflect.MessageDescriptor) {
		if m.ParentFile().Package() != "IM.Extension" {
			describe(m, got)
		}
	})
	file, err := protoregistry.GlobalFiles.FindFileByPath("IM.BaseDefine.proto")
	if err != nil {
		t.Fatal(err)
	}
	for i := range file.Enums().Len() {
		enum := file.Enums().Get(i)
		got["enum "+string(enum.Name())] = true
		for j := range enum.Values().Len() {
			value := enum.Values().Get(j)
			got[fmt.Sprintf("%s %d %s", enum.Name(), value.Number(), value.Name())] = true
		}
	}
	for line := range want {
		if !got[line] {
			t.Errorf("the original has %q", line)
		}
	}
	for line := range got {
		if !want[line] {
			t.Errorf("the original does not have %q", line)
		}
	}
}

// describe notes a message and its fields below 100 as lines of the schema.
func describe(m protoreflect.MessageDescriptor, lines map[string]bool) {
	name := strings.TrimPrefix(string(m.FullName()), "IM.BaseDefine.")
	lines["message "+name] = true
	for i := range m.Fields().Len() {
		f := m.Fields().Get(i)
		if f.Number() >= 100 {
			continue
		}
		kind := f.Kind().String()
		switch f.Kind() {
		case protoreflect.EnumKind:
			kind = "enum:" + string(f.Enum().Name())
		case protoreflect.MessageKind:
			kind = "msg:" + string(f.Message().Name())
		default:
		}
		lines[fmt.Sprintf("%s %d %s %s %s", name, f.Number(), f.Name(), kind, f.Cardinality())] = true
		if f.IsPacked() {
			lines[string(f.FullName())+" is packed"] = true
		}
	}
}
