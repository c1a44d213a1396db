//go:build unix

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"teamtalk/test/e2e/cluster"
)

// roleFiles are the roles and the names of their configuration.
var roleFiles = map[string]string{ //nolint:gochecknoglobals // a table
	"msg_server": "msgserver.conf", "db_proxy": "dbproxyserver.conf",
	"route_server": "routeserver.conf", "login_server": "loginserver.conf",
	"http_msg_server": "httpmsgserver.conf", "file_server": "fileserver.conf", "push_server": "pushserver.conf",
}

// TestRolesRefuse: a role that cannot start says why in one line and with the
// right exit code.
func TestRolesRefuse(t *testing.T) {
	t.Parallel()
	c := cluster.Start(t, cluster.Options{Bin: bin, Msg: 1, HTTP: 1, File: 1, Push: 1})
	for role, file := range roleFiles {
		t.Run(role, func(t *testing.T) {
			t.Parallel()
			if code, out := run(t, "", role, "-v"); code != 0 || !strings.HasPrefix(out, role+" ") {
				t.Errorf("-v: exit code %d: %s", code, out)
			}
			if code, out := run(t, "", role, "--loud"); code != 2 {
				t.Errorf("an unknown flag: exit code %d: %s", code, out)
			}
			if code, out := run(t, t.TempDir(), role); code != 2 || !oneLine(out, file) {
				t.Errorf("no configuration: exit code %d: %s", code, out)
			}
			running := c.Folder(role + "_1")
			if code, out := run(t, running, role); code != 1 || !oneLine(out, "runs in this folder") {
				t.Errorf("the folder of a running one: exit code %d: %s", code, out)
			}
			good, err := os.ReadFile(filepath.Join(running, file))
			if err != nil {
				t.Fatal(err)
			}
			bad := filepath.Join(t.TempDir(), file)
			if err := os.WriteFile(bad, append([]byte("Colour=blue\n"), good...), 0o600); err != nil {
				t.Fatal(err)
			}
			if code, out := run(t, filepath.Dir(bad), role); code != 2 || !oneLine(out, file+":1: Colour: ") {
				t.Errorf("an unknown key: exit code %d: %s", code, out)
			}
			// The same ports in another folder.
			if err := os.WriteFile(bad, good, 0o600); err != nil {
				t.Fatal(err)
			}
			if code, out := run(t, filepath.Dir(bad), role); code != 1 || !strings.Contains(out, "address already in use") &&
				!strings.Contains(out, "taken") {
				t.Errorf("taken ports: exit code %d: %s", code, out)
			}
		})
	}
}

// oneLine reports whether out is one line that contains part.
func oneLine(out, part string) bool {
	return strings.Count(out, "\n") == 1 && strings.Contains(out, part)
}
