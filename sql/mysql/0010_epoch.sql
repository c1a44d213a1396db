-- The epoch of the database: another one when it went back to an earlier state.

-- +goose Up
ALTER TABLE IMClock
  ADD COLUMN epoch      varbinary(16) NOT NULL DEFAULT '',     -- ours: random; '' until it is asked for
  ADD COLUMN epochBegan int unsigned  NOT NULL DEFAULT 0;      -- ours: Unix seconds; 0 = it never went back
