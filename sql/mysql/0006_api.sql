-- Ours: the keys of http_msg_server's API, and what was changed with them. All
-- times are Unix seconds unless the name says otherwise.

-- +goose Up
CREATE TABLE IF NOT EXISTS IMApiKey (
  id       varchar(32) NOT NULL,
  name     varchar(64) NOT NULL,                 -- whose it is, for people
  scopes   varchar(255) NOT NULL,                -- separated by commas
  hash     binary(32) NOT NULL,                  -- SHA-256 of the secret, which has 130 random bits
  oldHash  binary(32) NOT NULL,                  -- of the secret before the last rotation
  oldUntil int unsigned NOT NULL DEFAULT 0,      -- until when that one holds
  rate     int unsigned NOT NULL,                -- requests per second
  status   tinyint unsigned NOT NULL DEFAULT 0,  -- 1: revoked
  created  int unsigned NOT NULL,
  updated  int unsigned NOT NULL,
  PRIMARY KEY (id)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS IMApiAudit (
  id        bigint unsigned NOT NULL AUTO_INCREMENT,
  atMs      bigint unsigned NOT NULL,            -- when it was answered, Unix milliseconds
  keyId     varchar(32) NOT NULL,
  action    varchar(32) NOT NULL,                -- operationId of openapi.json
  subject   varchar(255) NOT NULL,               -- what was changed, such as user:7
  requestId varchar(64) NOT NULL,                -- X-Request-Id of the answer
  remote    varchar(64) NOT NULL,                -- address of the caller
  status    int unsigned NOT NULL,               -- HTTP status of the answer
  PRIMARY KEY (id),
  KEY idx_at (atMs),
  KEY idx_key (keyId, atMs)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
