-- Ours: the keys of http_msg_server's API, and what was changed with them. All
-- times are Unix seconds unless the name says otherwise.

-- +goose Up
CREATE TABLE IF NOT EXISTS IMApiKey (
  id       TEXT NOT NULL CHECK (length(id) <= 32),
  name     TEXT NOT NULL CHECK (length(name) <= 64),     -- whose it is, for people
  scopes   TEXT NOT NULL CHECK (length(scopes) <= 255),  -- separated by commas
  hash     BLOB NOT NULL CHECK (length(hash) = 32),      -- SHA-256 of the secret, which has 130 random bits
  oldHash  BLOB NOT NULL CHECK (length(oldHash) = 32),   -- of the secret before the last rotation
  oldUntil INTEGER NOT NULL DEFAULT 0,                   -- until when that one holds
  rate     INTEGER NOT NULL,                             -- requests per second
  status   INTEGER NOT NULL DEFAULT 0,                   -- 1: revoked
  created  INTEGER NOT NULL,
  updated  INTEGER NOT NULL,
  PRIMARY KEY (id)
) STRICT, WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS IMApiAudit (
  id        INTEGER PRIMARY KEY AUTOINCREMENT,
  atMs      INTEGER NOT NULL,                                 -- when it was answered, Unix milliseconds
  keyId     TEXT NOT NULL CHECK (length(keyId) <= 32),
  action    TEXT NOT NULL CHECK (length(action) <= 32),       -- operationId of openapi.json
  subject   TEXT NOT NULL CHECK (length(subject) <= 255),     -- what was changed, such as user:7
  requestId TEXT NOT NULL CHECK (length(requestId) <= 64),    -- X-Request-Id of the answer
  remote    TEXT NOT NULL CHECK (length(remote) <= 64),       -- address of the caller
  status    INTEGER NOT NULL                                  -- HTTP status of the answer
) STRICT;
CREATE INDEX IF NOT EXISTS idx_IMApiAudit_at ON IMApiAudit (atMs);
CREATE INDEX IF NOT EXISTS idx_IMApiAudit_key ON IMApiAudit (keyId, atMs);
