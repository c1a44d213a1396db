-- Ours: what the Idempotency-Keys of http_msg_server's API were used for, and
-- what was answered. Rows are removed in the order of seq. All times are Unix
-- seconds.

-- +goose Up
CREATE TABLE IF NOT EXISTS IMApiRequest (
  seq     bigint unsigned NOT NULL AUTO_INCREMENT,
  id      binary(32) NOT NULL,                   -- SHA-256 of the API key and the Idempotency-Key
  request binary(32) NOT NULL,                   -- HMAC-SHA256 of method, path and body
  attempt binary(16) NOT NULL,                   -- who carries the request out, or did last
  created int unsigned NOT NULL,
  claimed int unsigned NOT NULL,                 -- when the attempt began; 0: it has ended without an answer
  made    int unsigned NOT NULL DEFAULT 0,       -- id of the user or group that was made, written with it
  status  smallint unsigned NOT NULL DEFAULT 0,  -- HTTP status of the answer; 0: none yet
  answer  mediumblob NOT NULL,                   -- its body
  PRIMARY KEY (seq),
  UNIQUE KEY idx_id (id)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
