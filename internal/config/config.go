// Package config reads the servers' configuration: files of key=value lines,
// checked against a table of the keys a role knows. It owns the file format,
// which is the original TeamTalk's, the conversion of values and the wording of
// complaints; what a key means to a role is said in that role's own table.
package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"teamtalk/internal/nearest"
)

// Kind is the type of a value and decides which getter of File returns it.
type Kind uint8

// The kinds. In brackets: the getter.
const (
	String    Kind = iota // any text; one of Key.Enum where that is set; Min and Max count bytes (File.String)
	Int                   // decimal, between Min and Max (File.Int)
	Port                  // 1 to 65535 (File.Int)
	Bool                  // 0 or 1 (File.Bool)
	Duration              // "30s", "250ms"; a plain number is seconds; Min and Max in nanoseconds (File.Duration)
	Bytes                 // a plain number or one with KiB, MiB, GiB; Min and Max in bytes (File.Int)
	IP                    // an IP address (File.String)
	IPList                // IP addresses or "localhost", separated by ";" (File.List)
	Host                  // an IP address or a host name (File.String)
	Hosts                 // hosts, each with or without :port, separated by ";" (File.List)
	Endpoints             // as Hosts; also absolute paths of sockets (File.List)
	Addr                  // host:port (File.String)
	URL                   // http or https (File.String)
	CIDRList              // prefixes or addresses, separated by ";" (File.Prefixes)
	List                  // words separated by ","; out of Key.Enum where that is set (File.List)
	Secret                // never printed; may stand in the file named by <key>_file instead (File.Secret)
	Servers               // the numbered pairs <key>IP1, <key>Port1, <key>IP2 … (File.List, as host:port)
)

var kindNames = [...]string{
	"text", "number", "port", "0 or 1", "duration", "size", "IP address", "IP addresses", "host", "hosts",
	"hosts or sockets", "host:port", "URL", "address ranges", "names", "secret", "servers",
}

// String names the kind for a reader of the reference.
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return "kind " + strconv.Itoa(int(k))
}

// Key declares one key of a file.
type Key struct {
	Name     string   // as in the file; "*_host" with Per stands for one key per instance
	Per      string   // the List key that names the instances which replace the "*"; else empty
	Kind     Kind     //
	Required bool     // refuse a file without it; with Per: for each listed instance
	Default  string   // used when the key is absent; written as it would stand in the file
	Sample   string   // value in the sample file where that differs from Default
	Min, Max int64    // bounds of the value, unchecked when both are 0; Servers: Min is the least number of pairs
	Enum     []string // the values allowed for String and List; nil for any
	Obsolete bool     // accepted with a warning and otherwise ignored
	Fixed    bool     // a Secret that is not taken while the process runs: see Process.Renew
	Help     string   // what it does, its unit where the value does not say it
}

// Keys is the table of one role, in the order of its sample file.
type Keys []Key

// Join puts tables one behind the other.
func Join(tables ...Keys) Keys { return slices.Concat(tables...) }

// Check reports mistakes in the table itself: it is meant for a test of each
// role. Defaults and samples must be values the table accepts.
func (ks Keys) Check() error {
	seen := map[[2]string]bool{}
	for i := range ks {
		k := &ks[i]
		id := [2]string{k.Per, k.Name}
		if seen[id] {
			return fmt.Errorf("key %s is declared twice", k.Name)
		}
		seen[id] = true
		if reason := ks.mistake(k); reason != "" {
			return fmt.Errorf("key %s %s", k.Name, reason)
		}
	}
	return nil
}

// mistake says what is wrong with one declaration, or nothing.
func (ks Keys) mistake(k *Key) string {
	if k.Help == "" {
		return "has no help"
	}
	if strings.Contains(k.Name, "*") != (k.Per != "") {
		return "has a * in its name without Per, or the reverse"
	}
	if k.Per != "" {
		if list := ks.find(k.Per); list == nil || list.Kind != List || list.Enum == nil {
			return "is for each of " + k.Per + ", which is no closed list"
		}
	}
	if k.Kind == Servers || k.Obsolete {
		return ""
	}
	for _, text := range []string{k.Default, k.Sample} {
		if text == "" {
			continue
		}
		if _, reason := k.convert(text); reason != "" {
			return fmt.Sprintf("has the value %q: %s", text, reason)
		}
	}
	return ""
}

func (ks Keys) find(name string) *Key {
	for i := range ks {
		if ks[i].Name == name {
			return &ks[i]
		}
	}
	return nil
}

// expand returns the key's name for one instance.
func (k *Key) expand(instance string) string { return strings.Replace(k.Name, "*", instance, 1) }

// secretFileSuffix makes the name of the key that holds a secret's file.
const secretFileSuffix = "_file"

// owner returns the declaration that name belongs to, or nil for a name nobody
// declared.
func (ks Keys) owner(name string) *Key {
	for i := range ks {
		k := &ks[i]
		base := name
		if k.Kind == Secret && !k.Obsolete {
			base = strings.TrimSuffix(name, secretFileSuffix)
		}
		switch {
		case k.Kind == Servers:
			if _, _, ok := k.pair(name); ok {
				return k
			}
		case k.Per != "":
			for _, instance := range ks.find(k.Per).Enum {
				if base == k.expand(instance) {
					return k
				}
			}
		case base == k.Name:
			return k
		}
	}
	return nil
}

// pair splits the name of a numbered key, such as DBServerPort2, into its
// halves. Numbers have no leading zero.
func (k *Key) pair(name string) (half string, n int, ok bool) {
	rest, ok := strings.CutPrefix(name, k.Name)
	if !ok {
		return "", 0, false
	}
	for _, half := range []string{"IP", "Port"} {
		digits, ok := strings.CutPrefix(rest, half)
		if !ok {
			continue
		}
		n, err := strconv.Atoi(digits)
		if err == nil && n > 0 && strconv.Itoa(n) == digits {
			return half, n, true
		}
	}
	return "", 0, false
}

// suggest returns the declared name that a reader most likely meant by an
// unknown one, or "".
func (ks Keys) suggest(name string) string {
	var names []string
	for i := range ks {
		names = append(names, ks.names(&ks[i])...)
	}
	return nearest.Of(name, names)
}

// names lists the names under which k may stand in a file, numbered pairs
// with their first number only.
func (ks Keys) names(k *Key) []string {
	switch {
	case k.Kind == Servers:
		return []string{k.Name + "IP1", k.Name + "Port1"}
	case k.Per != "":
		var names []string
		for _, instance := range ks.find(k.Per).Enum {
			names = append(names, k.expand(instance))
		}
		return names
	default:
		return []string{k.Name}
	}
}
