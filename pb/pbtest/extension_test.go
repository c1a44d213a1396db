// Package pbtest holds the compiled messages against docs/protocol.md.
package pbtest

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"teamtalk/internal/wire"
	_ "teamtalk/pb/buddy"
	_ "teamtalk/pb/extension"
	_ "teamtalk/pb/file"
	_ "teamtalk/pb/group"
	_ "teamtalk/pb/login"
	_ "teamtalk/pb/message"
	_ "teamtalk/pb/other"
	_ "teamtalk/pb/server"
	_ "teamtalk/pb/switchservice"
)

func document(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../docs/protocol.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func eachMessage(f func(protoreflect.MessageDescriptor)) {
	protoregistry.GlobalFiles.RangeFiles(func(file protoreflect.FileDescriptor) bool {
		if strings.HasPrefix(string(file.Package()), "IM.") {
			for i := range file.Messages().Len() {
				f(file.Messages().Get(i))
			}
		}
		return true
	})
}

func TestExtensionFieldsAreDocumented(t *testing.T) {
	t.Parallel()
	var documented, compiled []string
	for _, m := range regexp.MustCompile(`(?m)^\| (IM\.\S+) \| (\d+) (\w+) \|`).FindAllStringSubmatch(document(t), -1) {
		documented = append(documented, fmt.Sprintf("%s %s %s", m[1], m[2], m[3]))
	}
	eachMessage(func(m protoreflect.MessageDescriptor) {
		for i := range m.Fields().Len() {
			if field := m.Fields().Get(i); field.Number() >= 100 {
				compiled = append(compiled, fmt.Sprintf("%s %d %s", m.FullName(), field.Number(), field.Name()))
				if field.Cardinality() == protoreflect.Required {
					t.Errorf("%s must be optional", field.FullName())
				}
			}
		}
	})
	slices.Sort(documented)
	slices.Sort(compiled)
	if !slices.Equal(documented, compiled) {
		t.Errorf("documented %q\ncompiled   %q", documented, compiled)
	}
}

func TestExtensionCommandsAreDocumented(t *testing.T) {
	t.Parallel()
	var documented, known []string
	for _, m := range regexp.MustCompile(`(?m)^\| 0x(\w{4}) \| (\w+) \|`).FindAllStringSubmatch(document(t), -1) {
		documented = append(documented, m[1]+" "+m[2])
	}
	for _, c := range wire.Commands() {
		if c&0xff >= 0x80 {
			known = append(known, fmt.Sprintf("%04X %s", uint16(c), c))
		}
	}
	slices.Sort(documented)
	slices.Sort(known)
	if !slices.Equal(documented, known) {
		t.Errorf("documented %q\nknown      %q", documented, known)
	}
}

// The totals of the original's files: 110 messages and 23 enums.
func TestNothingOfTheOriginalIsMissing(t *testing.T) {
	t.Parallel()
	messages := 0
	eachMessage(func(m protoreflect.MessageDescriptor) {
		if m.ParentFile().Package() != "IM.Extension" {
			messages++
		}
	})
	file, err := protoregistry.GlobalFiles.FindFileByPath("IM.BaseDefine.proto")
	if err != nil {
		t.Fatal(err)
	}
	if messages != 110 || file.Enums().Len() != 23 {
		t.Errorf("%d messages, %d enums; want 110 and 23", messages, file.Enums().Len())
	}
}

// Every id of the command enums is one the servers know by name.
func TestCommandsMatchTheEnums(t *testing.T) {
	t.Parallel()
	file, err := protoregistry.GlobalFiles.FindFileByPath("IM.BaseDefine.proto")
	if err != nil {
		t.Fatal(err)
	}
	for i := range file.Enums().Len() {
		enum := file.Enums().Get(i)
		if !strings.HasSuffix(string(enum.Name()), "CmdID") {
			continue
		}
		for j := range enum.Values().Len() {
			value := enum.Values().Get(j)
			if wire.Command(value.Number()).String() == "unknown" {
				t.Errorf("%s (%#04x) has no name in package wire", value.Name(), value.Number())
			}
		}
	}
}
