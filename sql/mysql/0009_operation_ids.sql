-- Since when operation ids belong to a conversation (docs/protocol.md), in a
-- database that holds messages from before: repeats of those are looked up
-- under the ids of that time, too. Without such messages there is no row.

-- +goose Up
CREATE TABLE IF NOT EXISTS IMUpgrade (
  what varchar(32) NOT NULL,
  at   bigint NOT NULL, -- Unix seconds
  PRIMARY KEY (what)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

INSERT IGNORE INTO IMUpgrade (what, at)
SELECT 'operation_ids', UNIX_TIMESTAMP() FROM (SELECT 1) AS one
WHERE EXISTS (SELECT 1 FROM IMMessage_0)
   OR EXISTS (SELECT 1 FROM IMMessage_1)
   OR EXISTS (SELECT 1 FROM IMMessage_2)
   OR EXISTS (SELECT 1 FROM IMMessage_3)
   OR EXISTS (SELECT 1 FROM IMMessage_4)
   OR EXISTS (SELECT 1 FROM IMMessage_5)
   OR EXISTS (SELECT 1 FROM IMMessage_6)
   OR EXISTS (SELECT 1 FROM IMMessage_7)
   OR EXISTS (SELECT 1 FROM IMGroupMessage_0)
   OR EXISTS (SELECT 1 FROM IMGroupMessage_1)
   OR EXISTS (SELECT 1 FROM IMGroupMessage_2)
   OR EXISTS (SELECT 1 FROM IMGroupMessage_3)
   OR EXISTS (SELECT 1 FROM IMGroupMessage_4)
   OR EXISTS (SELECT 1 FROM IMGroupMessage_5)
   OR EXISTS (SELECT 1 FROM IMGroupMessage_6)
   OR EXISTS (SELECT 1 FROM IMGroupMessage_7);
