package store

import (
	"log/slog"
	"testing"
)

// TestOpenAfterAKilledMigration: a process was killed between a change of a
// table and the note of it, or between the creation of the version table and
// its first row.
func TestOpenAfterAKilledMigration(t *testing.T) {
	t.Parallel()
	for name, rewind := range map[string]string{
		"a change without its note": "DELETE FROM goose_db_version WHERE version_id >= 4",
		"no note at all":            "DELETE FROM goose_db_version WHERE version_id > 0",
		"an empty version table":    "DELETE FROM goose_db_version",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := Config{Driver: MySQL, Master: mariadb(t)}
			s, err := Open(t.Context(), cfg, testDeps())
			check(t, err)
			check(t, s.Close())
			db, err := Bare(cfg.Master, slog.New(slog.DiscardHandler))
			check(t, err)
			defer db.Close()
			_, err = db.ExecContext(t.Context(), rewind)
			check(t, err)

			s, err = Open(t.Context(), cfg, testDeps())
			check(t, err)
			if ids, err := s.CreateUsers(t.Context(), []NewUser{{Name: "a"}}); err != nil || len(ids) != 1 {
				t.Errorf("users %v, %v", ids, err)
			}
			check(t, s.Close())
		})
	}
}
