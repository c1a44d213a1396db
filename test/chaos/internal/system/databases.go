//go:build unix

package system

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"teamtalk/internal/procs"
	"teamtalk/test/chaos/internal/proxy"
)

// database is one of the two servers that can be the primary.
type database struct {
	*procs.MariaDB
	disk *disk // nil: none of its own
}

// databaseUser is whom the roles are for the database: somebody who may not
// write where SET GLOBAL read_only forbids it, unlike root.
const databaseUser = "teamtalk"

// newDatabase prepares one. Its folder is a temporary one, since the path of a
// socket must be short. The logs of replication stand beside the data, which
// becomes full or read-only without them.
func (s *System) newDatabase(ctx context.Context, dir string, id int) (*database, error) {
	for _, name := range []string{"binlog", "relay"} {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o700); err != nil {
			return nil, fmt.Errorf("make folder of MariaDB: %w", err)
		}
	}
	args := []string{"--innodb-log-file-size=64M", "--innodb-buffer-pool-size=256M", "--innodb-use-native-aio=0"}
	if s.cfg.Replica {
		args = append(args, fmt.Sprintf("--server-id=%d", id), "--log-bin="+filepath.Join(dir, "binlog", "bin"),
			"--relay-log="+filepath.Join(dir, "relay", "relay"), "--log-slave-updates", "--binlog-format=ROW",
			"--binlog-row-image=MINIMAL", "--sync-binlog=0", "--max-binlog-size=64M", "--binlog-expire-logs-seconds=300",
			"--slave-net-timeout=5")
	}
	mariadb, err := procs.NewMariaDB(ctx, procs.MariaDBConfig{
		Dir: dir, Port: s.cfg.BasePort + mariadbPort + id - 1, Args: args,
	})
	if err != nil {
		return nil, err
	}
	d := &database{MariaDB: mariadb}
	if s.cfg.Disk > 0 {
		if d.disk, err = mountDisk(filepath.Join(dir, "data"), s.cfg.Disk); err != nil {
			return nil, err
		}
	}
	return d, nil
}

// standby is the name of the process that is the replica.
const standby = "mariadb (replica)"

// prepareDatabases prepares the primary and, if it is wanted, the replica.
func (s *System) prepareDatabases(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "chaos")
	if err != nil {
		return fmt.Errorf("make folder of MariaDB: %w", err)
	}
	s.temporary = dir
	names := []string{"mariadb"}
	if s.cfg.Replica {
		names = append(names, standby)
	}
	errs := make([]error, len(names))
	servers := make([]*database, len(names))
	var all sync.WaitGroup
	for i := range names {
		all.Go(func() { servers[i], errs[i] = s.newDatabase(ctx, filepath.Join(dir, strconv.Itoa(i+1)), i+1) })
	}
	all.Wait()
	for i, name := range names {
		if servers[i] != nil {
			s.add(&part{
				name: name, server: servers[i].Server, database: servers[i], disk: servers[i].disk, spare: name == standby,
			})
		}
	}
	s.Store, s.Replica = "mariadb", s.cfg.Replica
	s.open = func() (*sql.DB, error) { return s.root(s.parts["mariadb"], "teamtalk") }
	return errors.Join(errs...)
}

// root opens a database server with every right.
func (s *System) root(p *part, name string) (*sql.DB, error) {
	return sql.Open("mysql", p.database.DSN(name))
}

// run runs statements, one after the other, on a database server.
func (s *System) run(ctx context.Context, p *part, statements ...string) error {
	for _, statement := range statements {
		if err := p.database.Exec(ctx, statement); err != nil {
			return fmt.Errorf("%s: %s: %w", p.name, statement, err)
		}
	}
	return nil
}

// createDatabase makes what the roles need, and lets the replica follow.
func (s *System) createDatabase(ctx context.Context) error {
	primary := s.parts["mariadb"]
	err := s.run(ctx, primary, "CREATE DATABASE teamtalk CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
		"CREATE USER "+databaseUser+"@127.0.0.1", "GRANT ALL ON teamtalk.* TO "+databaseUser+"@127.0.0.1")
	if err != nil || !s.cfg.Replica {
		return err
	}
	return s.follow(ctx, s.parts[standby], primary)
}

// follow makes a server the replica of another one, from where it stands.
func (s *System) follow(ctx context.Context, replica, primary *part) error {
	return s.run(ctx, replica, "SET GLOBAL read_only = 1", fmt.Sprintf("CHANGE MASTER TO MASTER_HOST = '127.0.0.1', "+
		"MASTER_PORT = %d, MASTER_USER = 'root', MASTER_CONNECT_RETRY = 1, MASTER_USE_GTID = slave_pos",
		primary.database.Port), "START SLAVE")
}

// catchUpIn is how long a replica may be behind its primary.
const catchUpIn = 60 * time.Second

// failOver lets the replica take the place of the primary, which refuses writes
// from then on and follows: new connections lead to the new one, those that are
// there stay with the old one. Nothing is lost. Called with the primary's one
// held.
func (s *System) failOver(ctx context.Context, primary *part, begin func(), hit func(int)) error {
	replica := s.parts[standby]
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), catchUpIn+startTimeout)
	defer cancel()
	if err := s.caughtUp(ctx, primary, replica); err != nil { // nearly: writing goes on
		return err
	}
	begin()
	err := s.run(ctx, primary, "SET GLOBAL read_only = 1")
	if err == nil {
		err = s.caughtUp(ctx, primary, replica)
	}
	if err == nil {
		err = s.promote(ctx, replica)
	}
	if err != nil {
		return err
	}
	hit(s.proxies["mariadb"].Retarget(replica.database.Addr()))
	primary.swap(replica)
	// What the old primary wrote itself it has.
	old, fresh := replica, primary
	if err := s.run(ctx, old, "SET GLOBAL gtid_slave_pos = @@GLOBAL.gtid_binlog_pos"); err != nil {
		return err
	}
	return s.follow(ctx, old, fresh)
}

// promote makes a replica a server of its own that can be written to.
func (s *System) promote(ctx context.Context, replica *part) error {
	return s.run(ctx, replica, "STOP SLAVE", "RESET SLAVE ALL", "SET GLOBAL read_only = 0")
}

// caughtUp waits until a replica has everything that its primary has.
func (s *System) caughtUp(ctx context.Context, primary, replica *part) error {
	from, err := s.root(primary, "")
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := s.root(replica, "")
	if err != nil {
		return err
	}
	defer to.Close()
	var position string
	if err := from.QueryRowContext(ctx, "SELECT @@GLOBAL.gtid_binlog_pos").Scan(&position); err != nil {
		return fmt.Errorf("ask %s where it stands: %w", primary.name, err)
	}
	var there int
	err = to.QueryRowContext(ctx, "SELECT MASTER_GTID_WAIT(?, ?)", position, catchUpIn.Seconds()).Scan(&there)
	if err == nil && there != 0 {
		err = fmt.Errorf("not at %s after %v", position, catchUpIn)
	}
	if err != nil {
		return fmt.Errorf("wait for %s: %w", replica.name, err)
	}
	return nil
}

// goBack loses the primary with what its replica did not have yet, which takes
// its place. Called with the primary's one held.
func (s *System) goBack(ctx context.Context, primary *part, d time.Duration, notes Notes) error {
	replica := s.parts[standby]
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), startTimeout+d)
	defer cancel()
	if err := s.caughtUp(ctx, primary, replica); err != nil {
		return err
	}
	if err := s.run(ctx, replica, "STOP SLAVE"); err != nil {
		return err
	}
	pause(ctx, d)
	notes.Begin()
	s.expect(primary)
	if err := primary.server.Kill(); err != nil {
		return err
	}
	if err := s.promote(ctx, replica); err != nil {
		return err
	}
	if err := s.visit(ctx, replica, notes.Restored); err != nil {
		return err
	}
	front := s.proxies["mariadb"]
	front.Retarget(replica.database.Addr())
	notes.Hit(front.Cut(proxy.Everybody, 0))
	primary.swap(replica)
	// Nobody reaches the lost one; it says what is lost.
	if err := s.Start(ctx, standby); err != nil {
		return err
	}
	return errors.Join(s.visit(ctx, replica, notes.Gone), s.Term(ctx, standby))
}

// visit opens the data of a server for a moment.
func (s *System) visit(ctx context.Context, p *part, visit func(context.Context, *sql.DB) error) error {
	db, err := s.root(p, "teamtalk")
	if err != nil {
		return err
	}
	return errors.Join(visit(ctx, db), db.Close())
}
