package fileserver

import (
	"strings"
	"testing"
)

// Clients are told addresses that they can connect to.
// Source: docs/protocol/defects.md G7.
func TestAnnouncedAddresses(t *testing.T) {
	t.Parallel()
	parse := func(announced, listen string) []string {
		t.Helper()
		cfg, err := ParseConfig(strings.NewReader("ClientListenIP="+listen+"\nClientListenPort=8600\n"+
			"MsgServerListenIP=127.0.0.1\nMsgServerListenPort=8601\n"+announced), "test.conf")
		if err != nil {
			t.Fatal(err)
		}
		var all []string
		for _, a := range cfg.Addrs {
			all = append(all, a.String())
		}
		return all
	}
	for name, c := range map[string]struct{ announced, listen, want string }{
		"as configured":         {"FileServerIp=198.51.100.7", "0.0.0.0", "198.51.100.7:8600"},
		"several":               {"FileServerIp=198.51.100.7;localhost", "0.0.0.0", "198.51.100.7:8600 127.0.0.1:8600"},
		"the original's sample": {"FileServerIp=0.0.0.0", "0.0.0.0;10.0.0.5", "10.0.0.5:8600"},
		"nothing":               {"", "10.0.0.5", "10.0.0.5:8600"},
	} {
		if got := strings.Join(parse(c.announced, c.listen), " "); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
	// Without a better one, the address is one of this machine.
	for _, addr := range parse("FileServerIp=0.0.0.0", "0.0.0.0") {
		if strings.HasPrefix(addr, "0.0.0.0:") {
			t.Errorf("%s is announced", addr)
		}
	}
}
