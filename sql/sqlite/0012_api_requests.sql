-- Ours: what the Idempotency-Keys of http_msg_server's API were used for, and
-- what was answered. Rows are removed in the order of seq. All times are Unix
-- seconds.

-- +goose Up
CREATE TABLE IF NOT EXISTS IMApiRequest (
  seq     INTEGER PRIMARY KEY AUTOINCREMENT,
  id      BLOB NOT NULL CHECK (length(id) = 32),       -- SHA-256 of the API key and the Idempotency-Key
  request BLOB NOT NULL CHECK (length(request) = 32),  -- HMAC-SHA256 of method, path and body
  attempt BLOB NOT NULL CHECK (length(attempt) = 16),  -- who carries the request out, or did last
  created INTEGER NOT NULL,
  claimed INTEGER NOT NULL,                            -- when the attempt began; 0: it has ended without an answer
  made    INTEGER NOT NULL DEFAULT 0,                  -- id of the user or group that was made, written with it
  status  INTEGER NOT NULL DEFAULT 0,                  -- HTTP status of the answer; 0: none yet
  answer  BLOB NOT NULL                                -- its body
) STRICT;
CREATE UNIQUE INDEX IF NOT EXISTS idx_IMApiRequest_id ON IMApiRequest (id);
