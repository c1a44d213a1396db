package bench

import (
	"database/sql"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"teamtalk/client/clienttest"
	"teamtalk/client/textcrypt"
	"teamtalk/db_proxy/dbproxy"
	"teamtalk/internal/testenv"
)

// databases writes the configuration of a db_proxy with a MariaDB, whose
// tables are there, and a Redis.
func databases(t *testing.T) (file string, db *testenv.Database) {
	t.Helper()
	db = testenv.MariaDB(t)
	redis := testenv.Redis(t)
	var conf strings.Builder
	fmt.Fprintf(&conf, "ListenIP=127.0.0.1\nListenPort=1\naesKey=%s\nDBInstances=teamtalk_master\n"+
		"teamtalk_master_host=%s\nteamtalk_master_port=%d\nteamtalk_master_dbname=%s\nteamtalk_master_username=%s\n"+
		"CacheInstances=unread,group_set,token,group_member\n",
		textcrypt.StandardKey, db.Host, db.Port, db.Name, db.User)
	for _, pool := range []string{"unread", "group_set", "token", "group_member"} {
		fmt.Fprintf(&conf, "%s_host=127.0.0.1\n%s_port=%d\n", pool, pool, redis.Port)
	}
	file = filepath.Join(t.TempDir(), "dbproxyserver.conf")
	if err := os.WriteFile(file, []byte(conf.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := dbproxy.LoadConfig(file)
	if err != nil {
		t.Fatal(err)
	}
	admin, err := dbproxy.OpenAdmin(t.Context(), cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if err := admin.Close(); err != nil {
		t.Fatal(err)
	}
	return file, db
}

// TestCeiling measures real databases, uses the results in a run with commits
// beside it, and looks for what was left behind.
func TestCeiling(t *testing.T) {
	t.Parallel()
	conf, db := databases(t)
	file := filepath.Join(t.TempDir(), "ceiling.json")
	code, out := evaluate(t, "ceiling", "--config", conf, "--step", "150ms", "--json", file, "--pids", self())
	if code != 0 {
		t.Fatalf("exit code %d\n%s", code, out)
	}
	c, err := loadCeiling(file)
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Insert) != 1+len(rowBatches) || len(c.Redis) != len(pipelineBatches) ||
		c.Settings["mariadb version"] == "" || c.Settings["redis appendonly"] == "" {
		t.Errorf("%+v", c)
	}
	measured := 0 // a slow machine may get nothing done in a step
	for _, s := range append(c.Insert, c.Redis...) {
		if s.PerS > 0 && len(s.CPUPerOp) > 0 {
			measured++
		}
	}
	if measured == 0 {
		t.Errorf("nothing measured: %+v", c)
	}
	for _, want := range []string{"rows per commit", "pairs per pipeline", "mariadb version"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	n := clienttest.New()
	o := command(t, quick("single", "--count", "2", "--addr", n.Listen(t), "--ceiling", file, "--commits", conf, "--pids", self())...)
	if share := o.res.Ceiling; o.code != 0 || share == nil || share.CommitP99MS != c.Commit.P99 {
		t.Errorf("exit code %d, share %+v\n%s", o.code, share, o.out)
	}
	if !strings.Contains(o.out, "bare rows/s") {
		t.Errorf("no share in\n%s", o.out)
	}
	if o.res.Commit == nil || !strings.Contains(o.out, "bare commit beside") {
		t.Errorf("commits beside the load: %+v\n%s", o.res.Commit, o.out)
	}

	left, err := sql.Open("mysql", db.DSN())
	if err != nil {
		t.Fatal(err)
	}
	defer left.Close()
	var tables int
	err = left.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM information_schema.tables "+
		"WHERE table_schema = DATABASE() AND table_name LIKE 'bench%'").Scan(&tables)
	if err != nil || tables != 0 {
		t.Errorf("%d scratch tables are left, %v", tables, err)
	}
}

func TestCeilingRefuses(t *testing.T) {
	t.Parallel()
	f := files(t, `{"mode":"single"}`, "{", "ListenIP=127.0.0.1\nListenPort=1\naesKey="+textcrypt.StandardKey+"\nStoreDriver=sqlite\n")
	for name, tc := range map[string]struct {
		args []string
		want string
	}{
		"no file":     {[]string{"ceiling", "--config", "/nonexistent.conf"}, "no such file"},
		"no MariaDB":  {[]string{"ceiling", "--config", f[2]}, "no MariaDB"},
		"bad pids":    {[]string{"ceiling", "--config", f[2], "--pids", "x"}, "not name=pid"},
		"no results":  {quick("single", "--addr", "127.0.0.1:1", "--ceiling", f[0]), "does not hold"},
		"no JSON":     {quick("single", "--addr", "127.0.0.1:1", "--ceiling", f[1]), "--ceiling"},
		"no commits":  {quick("single", "--addr", "127.0.0.1:1", "--count", "2", "--commits", f[2]), "no MariaDB"},
		"no such one": {quick("single", "--addr", "127.0.0.1:1", "--ceiling", f[0]+"x"), "--ceiling"},
	} {
		if code, out := evaluate(t, tc.args...); code != exitFailure || !strings.Contains(out, tc.want) {
			t.Errorf("%s: exit code %d, want 2 and %q in\n%s", name, code, tc.want, out)
		}
	}
}
