package takeover

import (
	"context"
	"database/sql"
	"strings"
)

// scanner is a row to be scanned.
type scanner interface{ Scan(dest ...any) error }

// queryer is what *sql.DB and *sql.Tx have in common.
type queryer interface {
	QueryContext(ctx context.Context, text string, args ...any) (*sql.Rows, error)
	ExecContext(ctx context.Context, text string, args ...any) (sql.Result, error)
}

// rows runs a query and scans every row.
func rows[T any](
	ctx context.Context, q queryer, scan func(scanner) (T, error), text string, args ...any,
) (all []T, err error) {
	r, err := q.QueryContext(ctx, text, args...)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	for r.Next() {
		v, err := scan(r)
		if err != nil {
			return nil, err
		}
		all = append(all, v)
	}
	return all, r.Err()
}

// column runs a query of one column.
func column[T any](ctx context.Context, q queryer, text string, args ...any) ([]T, error) {
	return rows(ctx, q, func(r scanner) (v T, err error) { return v, r.Scan(&v) }, text, args...)
}

// number runs a query of one number; no row and NULL are 0.
func number(ctx context.Context, q queryer, text string, args ...any) (uint64, error) {
	all, err := column[sql.Null[uint64]](ctx, q, text, args...)
	if err != nil || len(all) == 0 {
		return 0, err
	}
	return all[0].V, nil
}

// exec runs a statement and returns how many rows it touched.
func exec(ctx context.Context, q queryer, text string, args ...any) (int64, error) {
	r, err := q.ExecContext(ctx, text, args...)
	if err != nil {
		return 0, err
	}
	return r.RowsAffected()
}

// marks returns "(?,?,?)" n times, separated by commas.
func marks(n, columns int) string {
	row := "(?" + strings.Repeat(",?", columns-1) + ")"
	return row + strings.Repeat(","+row, n-1)
}

// insert adds rows of the given columns, a bounded number at a time.
func insert(ctx context.Context, q queryer, head string, columns int, values []any) error {
	const most = 1000
	for len(values) > 0 {
		n := min(most, len(values)/columns)
		if _, err := exec(ctx, q, head+" VALUES "+marks(n, columns), values[:n*columns]...); err != nil {
			return err
		}
		values = values[n*columns:]
	}
	return nil
}
