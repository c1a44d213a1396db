package config

import (
	"fmt"
	"math"
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"teamtalk/internal/secret"
)

// convert checks text against the key and returns its value in the type the
// getters expect, or the reason why not.
func (k *Key) convert(text string) (value any, reason string) {
	switch k.Kind {
	case String:
		return k.text(text)
	case Int:
		return k.integer(text)
	case Port:
		return port(text)
	case Bool:
		if text != "0" && text != "1" {
			return nil, fmt.Sprintf("%q is neither 0 nor 1", text)
		}
		return text == "1", ""
	case Duration:
		return k.duration(text)
	case Bytes:
		return k.size(text)
	case IP:
		if _, err := netip.ParseAddr(text); err != nil {
			return nil, fmt.Sprintf("%q is not an IP address", text)
		}
		return text, ""
	case IPList:
		return ipList(text)
	case Host:
		if !isHost(text) {
			return nil, fmt.Sprintf("%q is neither an IP address nor a host name", text)
		}
		return text, ""
	case Hosts:
		return hosts(text, isHost)
	case Endpoints:
		return hosts(text, func(host string) bool { return isHost(host) || filepath.IsAbs(host) })
	case Addr:
		return address(text)
	case URL:
		return webURL(text)
	case CIDRList:
		return prefixes(text)
	case List:
		return k.list(text)
	case Secret:
		if reason := k.length(text); reason != "" {
			return nil, reason
		}
		return secret.New(text), ""
	case Servers:
		return nil, "servers are given as numbered pairs"
	default:
		return nil, "is declared with " + k.Kind.String()
	}
}

func (k *Key) text(text string) (any, string) {
	text, reason := k.word(text)
	if reason != "" {
		return nil, reason
	}
	if reason := k.length(text); reason != "" {
		return nil, reason
	}
	return text, ""
}

// word returns a word as Enum spells it, whatever its case; without an Enum
// every word is allowed.
func (k *Key) word(text string) (word, reason string) {
	if k.Enum == nil {
		return text, ""
	}
	for _, allowed := range k.Enum {
		if strings.EqualFold(allowed, text) {
			return allowed, ""
		}
	}
	return "", fmt.Sprintf("%q is none of: %s", text, strings.Join(k.Enum, ", "))
}

// length checks the number of bytes of a text without repeating it.
func (k *Key) length(text string) string {
	n := int64(len(text))
	switch {
	case k.Min == 0 && k.Max == 0, n >= k.Min && (n <= k.Max || k.Max == 0):
		return ""
	case k.Min == k.Max:
		return fmt.Sprintf("is %d bytes long, must be exactly %d", n, k.Min)
	case k.Max == 0:
		return fmt.Sprintf("is %d bytes long, must be at least %d", n, k.Min)
	default:
		return fmt.Sprintf("is %d bytes long, must be %d to %d", n, k.Min, k.Max)
	}
}

// within checks a number; show prints a bound in the unit of the kind.
func (k *Key) within(text string, n int64, show func(int64) string) string {
	switch {
	case k.Min == 0 && k.Max == 0, n >= k.Min && (n <= k.Max || k.Max == 0):
		return ""
	case k.Max == 0:
		return fmt.Sprintf("%s is out of range: at least %s", text, show(k.Min))
	default:
		return fmt.Sprintf("%s is out of range: %s to %s", text, show(k.Min), show(k.Max))
	}
}

func port(text string) (any, string) {
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > math.MaxUint16 {
		return nil, fmt.Sprintf("%q is not a port from 1 to 65535", text)
	}
	return n, ""
}

func webURL(text string) (any, string) {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return nil, fmt.Sprintf("%q is not a URL like http://host:port/", text)
	}
	return text, ""
}

func (k *Key) integer(text string) (any, string) {
	n, err := strconv.ParseInt(text, 10, 0)
	if err != nil {
		return nil, fmt.Sprintf("%q is not a whole number", text)
	}
	if reason := k.within(text, n, showInt); reason != "" {
		return nil, reason
	}
	return int(n), ""
}

func (k *Key) duration(text string) (any, string) {
	var d time.Duration
	if n, err := strconv.ParseInt(text, 10, 64); err == nil && n <= int64(math.MaxInt64/time.Second) {
		d = time.Duration(n) * time.Second
	} else if d, err = time.ParseDuration(text); err != nil {
		return nil, fmt.Sprintf("%q is not a duration like 30s", text)
	}
	if d < 0 {
		return nil, fmt.Sprintf("%q is negative", text)
	}
	if reason := k.within(text, int64(d), showDuration); reason != "" {
		return nil, reason
	}
	return d, ""
}

// units are the suffixes a size may have.
var units = []struct {
	suffix string
	bytes  int64
}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"B", 1}}

func (k *Key) size(text string) (any, string) {
	number, unit := text, int64(1)
	for _, u := range units {
		if n, ok := strings.CutSuffix(text, u.suffix); ok {
			number, unit = strings.TrimSpace(n), u.bytes
			break
		}
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n < 0 || n > math.MaxInt/unit {
		return nil, fmt.Sprintf("%q is not a size like 65536, 64KiB or 1MiB", text)
	}
	if reason := k.within(text, n*unit, showSize); reason != "" {
		return nil, reason
	}
	return int(n * unit), ""
}

func showInt(n int64) string      { return strconv.FormatInt(n, 10) }
func showDuration(n int64) string { return time.Duration(n).String() }
func showSize(n int64) string {
	for _, u := range units {
		if n >= u.bytes && n%u.bytes == 0 && u.bytes > 1 {
			return strconv.FormatInt(n/u.bytes, 10) + u.suffix
		}
	}
	return strconv.FormatInt(n, 10)
}

// split cuts a list and drops empty elements: a separator at the end is
// common in files people write.
func split(text, separator string) []string {
	var parts []string
	for part := range strings.SplitSeq(text, separator) {
		if part = strings.TrimSpace(part); part != "" {
			parts = append(parts, part)
		}
	}
	return parts
}

func ipList(text string) (any, string) {
	ips := split(text, ";")
	for i, ip := range ips {
		if ip == "localhost" {
			ips[i] = "127.0.0.1"
		} else if _, err := netip.ParseAddr(ip); err != nil {
			return nil, fmt.Sprintf("%q is not an IP address", ip)
		}
	}
	if len(ips) == 0 {
		return nil, "names no address"
	}
	return ips, ""
}

func hosts(text string, portless func(string) bool) (any, string) {
	list := split(text, ";")
	for _, host := range list {
		if portless(host) {
			continue
		}
		if _, reason := address(host); reason != "" {
			return nil, fmt.Sprintf("%q is neither a host nor host:port", host)
		}
	}
	if len(list) == 0 {
		return nil, "names no host"
	}
	return list, ""
}

func (k *Key) list(text string) (any, string) {
	words := split(text, ",")
	for i, word := range words {
		word, reason := k.word(word)
		if reason != "" {
			return nil, reason
		}
		words[i] = word
		if slices.Contains(words[:i], word) {
			return nil, fmt.Sprintf("%q stands twice", word)
		}
	}
	return words, ""
}

func prefixes(text string) (any, string) {
	var list []netip.Prefix
	for _, part := range split(text, ";") {
		prefix, err := netip.ParsePrefix(part)
		if err != nil {
			addr, addrErr := netip.ParseAddr(part)
			if addrErr != nil {
				return nil, fmt.Sprintf("%q is not an address range like 10.0.0.0/8", part)
			}
			prefix = netip.PrefixFrom(addr, addr.BitLen())
		}
		if prefix != prefix.Masked() {
			return nil, fmt.Sprintf("%q has bits set behind its length; did you mean %s?", part, prefix.Masked())
		}
		list = append(list, prefix)
	}
	return list, ""
}

func address(text string) (any, string) {
	host, number, err := net.SplitHostPort(text)
	if err != nil || !isHost(host) {
		return nil, fmt.Sprintf("%q is not an address like 127.0.0.1:8050", text)
	}
	if _, reason := port(number); reason != "" {
		return nil, fmt.Sprintf("%q has no port from 1 to 65535", text)
	}
	return text, ""
}

// isHost accepts IP addresses and what may be a host name; names are resolved
// by whoever connects. Underscores occur in container networks.
func isHost(text string) bool {
	if _, err := netip.ParseAddr(text); err == nil {
		return true
	}
	if len(text) == 0 || len(text) > 253 || text[0] == '-' || text[0] == '.' {
		return false
	}
	for _, r := range text {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '-', r == '.', r == '_':
		default:
			return false
		}
	}
	return true
}
