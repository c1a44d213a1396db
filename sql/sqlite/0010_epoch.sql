-- The epoch of the database: another one when it went back to an earlier state.

-- +goose Up
ALTER TABLE IMClock ADD COLUMN epoch BLOB NOT NULL DEFAULT x''; -- ours: 16 random bytes; empty until it is asked for
ALTER TABLE IMClock ADD COLUMN epochBegan INTEGER NOT NULL DEFAULT 0; -- ours: Unix seconds; 0 = it never went back
