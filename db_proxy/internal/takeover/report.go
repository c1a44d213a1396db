package takeover

import (
	"context"
	"database/sql"
	"fmt"
	"time"
)

// Kind names what a finding is about.
type Kind string

// The kinds of findings. Those with "redis" are where Redis and SQL disagreed.
const (
	UserRenamed     Kind = "user_renamed"      // another account has the name
	RelationMerged  Kind = "relation_merged"   // a pair had several
	RelationMade    Kind = "relation_made"     // messages whose relation was missing
	RelationLeftOut Kind = "relation_left_out" // of no two users
	MessagesLeftOut Kind = "messages_left_out" // of no two users
	Renumbered      Kind = "renumbered"        // a conversation with doubled or broken ids
	GroupDeleted    Kind = "group_deleted"     // nobody is in it
	GroupAliveRedis Kind = "group_alive_redis" // deleted in SQL, alive in Redis
	GroupOnlySQL    Kind = "group_only_sql"    // Redis does not know it: members from SQL
	MemberOnlyRedis Kind = "member_only_redis" // was no member in SQL
	MemberOnlySQL   Kind = "member_only_sql"   // is no member in Redis
	MemberLeftOut   Kind = "member_left_out"   // there is no such account, or no such group
	MemberMerged    Kind = "member_merged"     // had several rows
	SessionMerged   Kind = "session_merged"    // had several rows
	SessionLeftOut  Kind = "session_left_out"  // of no account, or with nobody
	SessionMade     Kind = "session_made"      // unread in Redis, no row in SQL
	UnreadLowered   Kind = "unread_lowered"    // Redis counts more than is stored
	TokenMoved      Kind = "token_moved"       // several users had it
	TokenIgnored    Kind = "token_ignored"     // of no kind of phone
	CounterRaised   Kind = "counter_raised"    // the ids in Redis were behind SQL
	CounterAhead    Kind = "counter_ahead"     // ids were given that were never stored
	RowsLeftOut     Kind = "rows_left_out"     // other rows that a unique key refused
	TableMissing    Kind = "table_missing"     // the original had none; made empty
	ColumnKept      Kind = "column_kept"       // not of TeamTalk: stays in the copy only
	KeyKept         Kind = "key_kept"          // unique, and not of TeamTalk: ours does without
	MadeDistinct    Kind = "made_distinct"     // undo: an added unique key allows a value once
	KeyLoosened     Kind = "key_loosened"      // undo: an added unique key that could not be kept
	TextChanged     Kind = "text_changed"      // undo: the original has no room or no letters for it
	PasswordMissing Kind = "password_missing"  // undo: no MD5 password any more
	Blocked         Kind = "blocked"           // must be put right first
)

// Finding is one thing that is not as it should be, or not as it was.
type Finding struct {
	Kind    Kind   `json:"kind"`
	Subject string `json:"subject"`
	Detail  string `json:"detail"`
	Number  uint64 `json:"number,omitempty"` // rows it is about
}

// Table says how many rows a table has.
type Table struct {
	Name   string `json:"name"`
	Rows   uint64 `json:"rows"`             // of the original
	Copied uint64 `json:"copied,omitempty"` // in ours afterwards
}

// Report is what a run did, or a check would do.
type Report struct {
	State    State           `json:"state"`
	Tables   []Table         `json:"tables"`
	Counts   map[Kind]uint64 `json:"counts"`   // findings by kind
	Findings []Finding       `json:"findings"` // at most PerKind of each kind
	Seconds  float64         `json:"seconds"`  // what it took, or a check thinks it will take
}

// PerKind is how many findings of one kind a Report lists. All of them stand
// in the table tt_takeover_finding.
const PerKind = 1000

// Rows returns the rows of the original in all tables.
func (r *Report) Rows() (n uint64) {
	for _, t := range r.Tables {
		n += t.Rows
	}
	return n
}

// note keeps findings, in the transaction of the work they are about.
func note(ctx context.Context, q queryer, stepName string, found []Finding) error {
	values := make([]any, 0, 5*len(found))
	for _, f := range found {
		values = append(values, stepName, f.Kind, f.Subject, f.Detail, f.Number)
	}
	return insert(ctx, q, "INSERT INTO tt_takeover_finding (step, kind, subject, detail, number)", 5, values)
}

// noteAlone keeps the findings of a step as a whole, in the place of those of
// an earlier attempt.
func (t *Takeover) noteAlone(ctx context.Context, s *stepState, found []Finding) error {
	name := s.name + ":all"
	return t.transaction(ctx, s, func(tx *sql.Tx) error {
		if _, err := exec(ctx, tx, "DELETE FROM tt_takeover_finding WHERE step = ?", name); err != nil {
			return err
		}
		return note(ctx, tx, name, found)
	})
}

// add puts findings into a report.
func (r *Report) add(found ...Finding) {
	if r.Counts == nil {
		r.Counts = map[Kind]uint64{}
	}
	for _, f := range found {
		r.Counts[f.Kind]++
		if r.Counts[f.Kind] <= PerKind {
			r.Findings = append(r.Findings, f)
		}
	}
}

// result reads the report of a takeover back.
func (t *Takeover) result(ctx context.Context) (*Report, error) {
	r := &Report{State: Taken, Counts: map[Kind]uint64{}, Findings: []Finding{}}
	found, err := rows(ctx, t.db, func(s scanner) (f Finding, err error) {
		return f, s.Scan(&f.Kind, &f.Subject, &f.Detail, &f.Number)
	}, "SELECT kind, subject, detail, number FROM tt_takeover_finding ORDER BY id")
	if err != nil {
		return nil, fmt.Errorf("read findings: %w", err)
	}
	r.add(found...)
	r.Tables, err = rows(ctx, t.db, func(s scanner) (v Table, err error) {
		var position int64
		err = s.Scan(&v.Name, &v.Rows, &position)
		v.Copied = uint64(max(position, 0))
		return v, err
	}, "SELECT SUBSTRING(step, 7), row_count, position FROM tt_takeover WHERE step LIKE 'count:%' ORDER BY step")
	if err != nil {
		return nil, fmt.Errorf("read counts: %w", err)
	}
	took, err := number(ctx, t.db, "SELECT MAX(ended) - MIN(started) FROM tt_takeover WHERE started > 0 AND ended > 0")
	if err != nil {
		return nil, fmt.Errorf("read times: %w", err)
	}
	r.Seconds = (time.Duration(took) * time.Second).Seconds()
	return r, nil
}
