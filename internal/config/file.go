package config

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"teamtalk/internal/secret"
)

// File is a configuration that fits its table. It is not changed after Parse
// and may be read from any goroutine. The getters answer for declared keys
// only; an absent optional key without default has the zero value.
type File struct {
	name     string
	keys     Keys
	last     int            // number of the last line
	lines    map[string]int // line of every key in the file
	values   map[string]any // by name; what is absent and has no default is not here
	warnings Errors
}

// Warnings returns what is odd but harmless, by line: obsolete, repeated and
// ineffective keys.
func (f *File) Warnings() Errors { return f.warnings }

// Fail makes a complaint about a key for a check that needs more than one of
// them. It carries the key's line where the file has it.
func (f *File) Fail(name, format string, args ...any) *Error {
	line := f.lines[name]
	if line == 0 {
		line = f.last
	}
	return &Error{File: f.name, Line: line, Key: name, Reason: fmt.Sprintf(format, args...)}
}

// String returns a String, IP, Host, Addr or URL.
func (f *File) String(name string) string { return get[string](f, name, String, IP, Host, Addr, URL) }

// Int returns an Int, Port or Bytes.
func (f *File) Int(name string) int { return get[int](f, name, Int, Port, Bytes) }

// Bool returns a Bool.
func (f *File) Bool(name string) bool { return get[bool](f, name, Bool) }

// Duration returns a Duration.
func (f *File) Duration(name string) time.Duration { return get[time.Duration](f, name, Duration) }

// List returns an IPList, Hosts, Endpoints, List or Servers; the caller must not change it.
func (f *File) List(name string) []string {
	return get[[]string](f, name, IPList, Hosts, Endpoints, List, Servers)
}

// Addrs returns Hosts as host:port, and the sockets of Endpoints as they are;
// port is for those that name none.
func (f *File) Addrs(hosts string, port int) []string {
	var addrs []string
	for _, host := range f.List(hosts) {
		if isHost(host) {
			host = join(host, strconv.Itoa(port))
		}
		addrs = append(addrs, host)
	}
	return addrs
}

// Prefixes returns a CIDRList; the caller must not change it.
func (f *File) Prefixes(name string) []netip.Prefix { return get[[]netip.Prefix](f, name, CIDRList) }

// Secret returns a Secret, whether it stood in this file or in its own.
func (f *File) Secret(name string) secret.Value { return get[secret.Value](f, name, Secret) }

// join is net.JoinHostPort under a name that reads.
func join(host, port string) string { return net.JoinHostPort(host, port) }

func get[T any](f *File, name string, kinds ...Kind) T {
	k := f.declared(name)
	if !slices.Contains(kinds, k.Kind) {
		//nolint:forbidigo // the program asks for a type its own table denies
		panic(fmt.Sprintf("config: key %s is declared as %s", name, k.Kind))
	}
	value, _ := f.values[name].(T)
	return value
}

// declared returns the key's declaration; a name without one is a mistake of
// the program, not of the file, and cannot be mended at run time.
func (f *File) declared(name string) *Key {
	k := f.keys.find(name)
	if k == nil {
		k = f.keys.owner(name)
	}
	if k == nil {
		panic("config: key " + name + " is not declared") //nolint:forbidigo // see above
	}
	return k
}
