//go:build unix

package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"

	"teamtalk/internal/im"
	"teamtalk/test/e2e/cluster"
)

// TestHTTPExamples runs the examples of docs/http-api.md as they are written,
// and compares what they print with what the page shows: the same members of
// the same types.
func TestHTTPExamples(t *testing.T) {
	t.Parallel()
	c := cluster.Start(t, cluster.Options{Bin: bin, Msg: 1, HTTP: 1})
	if _, err := c.CreateUsers(t.Context(), []string{"alice", "bob"}, "12345"); err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile("../../docs/http-api.md")
	if err != nil {
		t.Fatal(err)
	}
	// The examples say "teamtalk"; here it works on the cluster's database.
	shim := t.TempDir()
	text := fmt.Sprintf("#!/bin/sh\nexec %s \"$@\" --config %s\n", filepath.Join(bin, "teamtalk"),
		filepath.Join(c.Folder("db_proxy_1"), "dbproxyserver.conf"))
	if err := os.WriteFile(filepath.Join(shim, "teamtalk"), []byte(text), 0o700); err != nil {
		t.Fatal(err)
	}
	// One shell runs all; a line tells the outputs apart.
	const mark = "-- end of an example --"
	var script strings.Builder
	var shown []string // what the page shows after each example
	for i, block := range strings.Split(string(page), "\n```sh\n")[1:] {
		code, rest, _ := strings.Cut(block, "\n```\n")
		fmt.Fprintf(&script, "%s\necho; echo '%s'\n", code, mark)
		shown = append(shown, "")
		if after, found := strings.CutPrefix(strings.TrimLeft(rest, "\n"), "```json\n"); found {
			shown[i], _, _ = strings.Cut(after, "\n```\n")
		}
	}
	cmd := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", script.String())
	cmd.Env = append(os.Environ(), "API=http://"+c.Addr("http_msg_server_1"), "PATH="+shim+":"+os.Getenv("PATH"))
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s\n%s", err, stderr.String(), out)
	}
	outputs := strings.Split(string(out), mark+"\n")
	for i, want := range shown {
		if want == "" {
			continue
		}
		got := strings.TrimSpace(outputs[i])
		if !sameShape(t, want, got) {
			t.Errorf("example %d prints\n%s\nand the page shows\n%s", i+1, got, want)
		}
	}
	var rows int
	if err := c.DB.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM IMApiKey").Scan(&rows); err != nil || rows != 1 {
		t.Errorf("%d keys, %v", rows, err)
	}
	if err := c.StopServer(t.Context(), "http_msg_server_1"); err != nil { // a stop writes what is owed
		t.Fatal(err)
	}
	if err := c.DB.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM IMApiAudit").Scan(&rows); err != nil || rows != 8 {
		t.Errorf("%d changes in the audit, want 8; %v", rows, err)
	}
}

// sameShape compares two JSON texts but for the values.
func sameShape(t *testing.T, a, b string) bool {
	t.Helper()
	var shapes [2]any
	for i, text := range []string{a, b} {
		var v any
		if err := json.Unmarshal([]byte(text), &v); err != nil {
			t.Errorf("%v: %s", err, text)
			return false
		}
		shapes[i] = shapeOf(v)
	}
	return reflect.DeepEqual(shapes[0], shapes[1])
}

func shapeOf(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for name, e := range v {
			out[name] = shapeOf(e)
		}
		return out
	case []any:
		if len(v) == 0 {
			return "[]"
		}
		return []any{shapeOf(v[0])}
	default:
		return fmt.Sprintf("%T", v)
	}
}

// TestHTTPRepeats: two http_msg_servers on MariaDB know the same keys, also
// after they were killed.
func TestHTTPRepeats(t *testing.T) {
	t.Parallel()
	c := cluster.Start(t, cluster.Options{Bin: bin, Msg: 1, DB: 2, HTTP: 2})
	ids, err := c.CreateUsers(t.Context(), []string{"alice", "bob", "carol"}, "12345")
	if err != nil {
		t.Fatal(err)
	}
	added, err := c.Teamtalk(t.Context(), "apikey", "add", "shop", "--scope", "all")
	if err != nil {
		t.Fatal(err)
	}
	token := strings.Fields(added)[1]
	post := func(server, to string, key string) (int, string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+c.Addr(server)+"/api/v1/messages",
			strings.NewReader(fmt.Sprintf(`{"from_user_id":%d,"to_user_id":%s,"text":"x"}`, ids[0], to)))
		if err != nil {
			t.Fatal(err)
		}
		req.Header = http.Header{
			"Authorization": {"Bearer " + token}, "Content-Type": {"application/json"}, "Idempotency-Key": {key},
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res.StatusCode, string(body)
	}
	const one, two = "http_msg_server_1", "http_msg_server_2"
	bob, carol := fmt.Sprint(ids[1]), fmt.Sprint(ids[2])
	status, first := post(one, bob, "k")
	if status != http.StatusCreated {
		t.Fatalf("%d %s", status, first)
	}
	check := func(server string) {
		t.Helper()
		if status, again := post(server, bob, "k"); status != http.StatusOK || again != first {
			t.Errorf("%s: %d %s, first %s", server, status, again, first)
		}
		if status, body := post(server, carol, "k"); status != http.StatusConflict {
			t.Errorf("%s, another receiver: %d %s", server, status, body)
		}
	}
	check(one)
	check(two)
	for _, server := range []string{one, two} {
		if err := c.KillServer(server); err != nil {
			t.Fatal(err)
		}
		if err := c.StartServer(t.Context(), server); err != nil {
			t.Fatal(err)
		}
		check(server)
	}
	answers := make([]string, 8)
	var all sync.WaitGroup
	for i := range answers {
		all.Go(func() {
			for status := http.StatusConflict; status == http.StatusConflict; { // under way
				status, answers[i] = post([]string{one, two}[i%2], carol, "same-moment")
			}
		})
	}
	all.Wait()
	for _, a := range answers {
		if a != answers[0] {
			t.Errorf("answered %s and %s", answers[0], a)
		}
	}
	rows, err := c.Stored(t.Context(), im.SingleOf(ids[0], ids[2]))
	if err != nil || len(rows) != 1 {
		t.Errorf("stored %v, %v", rows, err)
	}
}
