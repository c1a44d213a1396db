package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"time"

	_ "modernc.org/sqlite" // the driver "sqlite"

	"teamtalk/internal/im"
)

// sqliteMaxText is how long the text of one statement may become; SQLite
// refuses a million bytes.
const sqliteMaxText = 900_000

// openSQLite opens one writing connection and a pool of reading ones on the
// same file. Readers see every commit: in WAL mode a statement starts with the
// newest one.
func (s *Store) openSQLite(ctx context.Context, cfg Config) error {
	s.dialect = newDialect(SQLite)
	s.packet = sqliteMaxText
	path, err := filepath.Abs(cfg.Path)
	if err != nil {
		return im.Wrap(im.Invalid, "store: data file", err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return im.Wrap(im.Unavailable, "store: create the data folder", err)
	}
	if s.lock, err = lockFile(path + ".lock"); err != nil {
		return err
	}
	if s.write, err = s.sqlitePool(path, 1, url.Values{
		"_txlock":       {"immediate"},
		"_journal_mode": {"WAL"},
		"_synchronous":  {"FULL"},
		"_pragma":       {"journal_size_limit(67108864)"},
	}); err != nil {
		return err
	}
	if err := s.write.db.PingContext(ctx); err != nil {
		return classify(err)
	}
	if err := s.migrateSQLite(ctx); err != nil {
		return err
	}
	readers := max(4, 2*runtime.NumCPU())
	if s.exact, err = s.sqlitePool(path, readers, url.Values{"_query_only": {"1"}}); err != nil {
		return err
	}
	return s.exact.preopen(ctx, readers)
}

func (s *Store) sqlitePool(path string, conns int, params url.Values) (*pool, error) {
	params.Set("_busy_timeout", "5000")
	params.Set("_dqs", "0")
	params.Add("_pragma", "temp_store(MEMORY)") // no file is opened for what is sorted
	name := url.URL{Scheme: "file", Path: path, RawQuery: params.Encode()}
	db, err := sql.Open("sqlite", name.String())
	if err != nil {
		return nil, im.Wrap(im.Invalid, "store: data file", err)
	}
	if s.deps.Connector != nil {
		db = sql.OpenDB(s.deps.Connector(connector{db.Driver(), name.String()}))
	}
	db.SetMaxOpenConns(conns)
	db.SetMaxIdleConns(conns)
	return &pool{db: db, wait: 5 * time.Second}, nil
}

// connector makes connections of a driver that takes names.
type connector struct {
	driver driver.Driver
	name   string
}

func (c connector) Connect(context.Context) (driver.Conn, error) { return c.driver.Open(c.name) }
func (c connector) Driver() driver.Driver                        { return c.driver }
