-- Pairs, groups, recent sessions and read positions. kind/type of a
-- conversation: 1 single, 2 group; peerId is a user id or a group id.
-- Tables that are upserted have their natural key as primary key; the
-- original's id stays as a secondary one, and is wide because every upsert
-- uses one up.

-- +goose Up
CREATE TABLE IF NOT EXISTS IMRelationShip (
  id      int unsigned NOT NULL AUTO_INCREMENT,
  smallId int unsigned NOT NULL,
  bigId   int unsigned NOT NULL,
  status  tinyint unsigned NOT NULL DEFAULT 0,
  created int unsigned NOT NULL DEFAULT 0,
  updated int unsigned NOT NULL DEFAULT 0,
  PRIMARY KEY (id),
  UNIQUE KEY uk_pair (smallId, bigId)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS IMGroup (
  id         int unsigned NOT NULL AUTO_INCREMENT,
  name       varchar(256) NOT NULL DEFAULT '',
  avatar     varchar(256) NOT NULL DEFAULT '',
  creator    int unsigned NOT NULL DEFAULT 0,                  -- 0: made over http_msg_server
  type       tinyint unsigned NOT NULL DEFAULT 1,              -- 1 normal, 2 temporary
  userCnt    int unsigned NOT NULL DEFAULT 0,
  status     tinyint unsigned NOT NULL DEFAULT 1,              -- 0 normal, 1 deleted
  version    int unsigned NOT NULL DEFAULT 1,                  -- rises with every change of members
  lastChated int unsigned NOT NULL DEFAULT 0,
  updated    int unsigned NOT NULL DEFAULT 0,
  created    int unsigned NOT NULL DEFAULT 0,
  PRIMARY KEY (id)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS IMGroupMember (
  id      bigint unsigned NOT NULL AUTO_INCREMENT,
  groupId int unsigned NOT NULL,
  userId  int unsigned NOT NULL,
  status  tinyint unsigned NOT NULL DEFAULT 1,                 -- 0 member, 1 left
  created int unsigned NOT NULL DEFAULT 0,
  updated int unsigned NOT NULL DEFAULT 0,
  joined  int unsigned NOT NULL DEFAULT 0,                     -- ours: start of the present membership
  PRIMARY KEY (groupId, userId),
  KEY idx_id (id),
  KEY idx_user (userId, status)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- Ours: who muted which group.
CREATE TABLE IF NOT EXISTS IMGroupShield (
  userId  int unsigned NOT NULL,
  groupId int unsigned NOT NULL,
  status  tinyint unsigned NOT NULL,                           -- 1: muted
  updated int unsigned NOT NULL,
  PRIMARY KEY (userId, groupId)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS IMRecentSession (
  id      bigint unsigned NOT NULL AUTO_INCREMENT,
  userId  int unsigned NOT NULL,
  peerId  int unsigned NOT NULL,
  type    tinyint unsigned NOT NULL DEFAULT 0,
  status  tinyint unsigned NOT NULL DEFAULT 0,                 -- 0 shown, 1 removed
  created int unsigned NOT NULL DEFAULT 0,
  updated int unsigned NOT NULL DEFAULT 0,                     -- last activity
  PRIMARY KEY (userId, peerId, type),
  KEY idx_id (id),
  KEY idx_recent (userId, status, updated)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- Ours: the last message a user has read. Only rises.
CREATE TABLE IF NOT EXISTS IMReadCursor (
  userId  int unsigned NOT NULL,
  type    tinyint unsigned NOT NULL,
  peerId  int unsigned NOT NULL,
  msgId   int unsigned NOT NULL,
  updated int unsigned NOT NULL,
  PRIMARY KEY (userId, type, peerId)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- Ours: the last message delivered to a terminal. Only rises.
CREATE TABLE IF NOT EXISTS IMDeliveryCursor (
  userId   int unsigned NOT NULL,
  terminal varchar(64) NOT NULL,
  type     tinyint unsigned NOT NULL,
  peerId   int unsigned NOT NULL,
  msgId    int unsigned NOT NULL,
  updated  int unsigned NOT NULL,
  PRIMARY KEY (userId, terminal, type, peerId)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
