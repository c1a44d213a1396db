//go:build unix

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"teamtalk/test/e2e/cluster"
	"teamtalk/test/e2e/dialog"
)

// TestDialogs plays every dialogs/*.dialog. Those without a use line share a
// cluster of two msg_servers; the others get one of their own.
func TestDialogs(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("dialogs/*.dialog")
	if err != nil || len(files) == 0 {
		t.Fatalf("no dialogs: %v", err)
	}
	var shared, own []*dialog.Script
	for _, file := range files {
		s := parse(t, file)
		if s.Uses == nil {
			shared = append(shared, s)
		} else {
			own = append(own, s)
		}
	}
	t.Run("shared", func(t *testing.T) {
		t.Parallel()
		c := cluster.Start(t, cluster.Options{Bin: bin})
		for i, s := range shared {
			t.Run(title(s), func(t *testing.T) {
				t.Parallel()
				play(t, s, c, "s"+strconv.Itoa(i))
			})
		}
	})
	for i, s := range own {
		t.Run(title(s), func(t *testing.T) {
			t.Parallel()
			o, err := options(s.Uses)
			if err != nil {
				t.Fatalf("%s: %v", s.Name, err)
			}
			play(t, s, cluster.Start(t, o), "o"+strconv.Itoa(i))
		})
	}
}

// parse parses a script.
func parse(t *testing.T, file string) *dialog.Script {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	s, err := dialog.Parse(file, f)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// play plays a script on a cluster.
func play(t *testing.T, s *dialog.Script, c *cluster.Cluster, tag string) {
	t.Helper()
	playOn(t, s, cluster.World{Cluster: c}, tag)
}

// playOn plays a script on any world.
func playOn(t *testing.T, s *dialog.Script, w dialog.World, tag string) {
	t.Helper()
	if err := dialog.Play(t.Context(), s, w, tag); err != nil {
		t.Error(err)
	}
}

// title is the name of a script's test.
func title(s *dialog.Script) string { return strings.TrimSuffix(filepath.Base(s.Name), ".dialog") }

// options reads a use line: msg_servers=2 db_proxies=2 route_servers=1
// push_servers=2 later=db_proxy_2 mariadb=own ROLE.KEY=VALUE, or "own" for nothing special.
func options(uses []string) (cluster.Options, error) {
	o := cluster.Options{Bin: bin, Keys: make(map[string]string)}
	for _, use := range uses {
		key, value, _ := strings.Cut(use, "=")
		var err error
		switch {
		case use == "own":
		case use == "mariadb=own":
			o.OwnMariaDB = true
		case key == "msg_servers":
			o.Msg, err = strconv.Atoi(value)
		case key == "db_proxies":
			o.DB, err = strconv.Atoi(value)
		case key == "route_servers":
			o.Route, err = strconv.Atoi(value)
		case key == "push_servers":
			o.Push, err = strconv.Atoi(value)
		case key == "later":
			o.Later = strings.Split(value, ",")
		case strings.Contains(key, "."):
			o.Keys[key] = value
		default:
			err = fmt.Errorf("cannot use %s", use)
		}
		if err != nil {
			return o, err
		}
	}
	return o, nil
}
