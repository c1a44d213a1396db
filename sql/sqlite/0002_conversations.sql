-- Pairs, groups, recent sessions and read positions. kind/type of a
-- conversation: 1 single, 2 group; peerId is a user id or a group id.

-- +goose Up
CREATE TABLE IF NOT EXISTS IMRelationShip (
  id      INTEGER PRIMARY KEY AUTOINCREMENT,
  smallId INTEGER NOT NULL,
  bigId   INTEGER NOT NULL,
  status  INTEGER NOT NULL DEFAULT 0,
  created INTEGER NOT NULL DEFAULT 0,
  updated INTEGER NOT NULL DEFAULT 0,
  UNIQUE (smallId, bigId)
) STRICT;

CREATE TABLE IF NOT EXISTS IMGroup (
  id         INTEGER PRIMARY KEY AUTOINCREMENT,
  name       TEXT NOT NULL DEFAULT '' CHECK (length(name) <= 256),
  avatar     TEXT NOT NULL DEFAULT '' CHECK (length(avatar) <= 256),
  creator    INTEGER NOT NULL DEFAULT 0, -- 0: made over http_msg_server
  type       INTEGER NOT NULL DEFAULT 1, -- 1 normal, 2 temporary
  userCnt    INTEGER NOT NULL DEFAULT 0,
  status     INTEGER NOT NULL DEFAULT 1, -- 0 normal, 1 deleted
  version    INTEGER NOT NULL DEFAULT 1, -- rises with every change of members
  lastChated INTEGER NOT NULL DEFAULT 0,
  updated    INTEGER NOT NULL DEFAULT 0,
  created    INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE IF NOT EXISTS IMGroupMember (
  id      INTEGER PRIMARY KEY,
  groupId INTEGER NOT NULL,
  userId  INTEGER NOT NULL,
  status  INTEGER NOT NULL DEFAULT 1, -- 0 member, 1 left
  created INTEGER NOT NULL DEFAULT 0,
  updated INTEGER NOT NULL DEFAULT 0,
  joined  INTEGER NOT NULL DEFAULT 0, -- ours: start of the present membership
  UNIQUE (groupId, userId)
) STRICT;
CREATE INDEX IF NOT EXISTS idx_IMGroupMember_user ON IMGroupMember (userId, status);

-- Ours: who muted which group.
CREATE TABLE IF NOT EXISTS IMGroupShield (
  userId  INTEGER NOT NULL,
  groupId INTEGER NOT NULL,
  status  INTEGER NOT NULL, -- 1: muted
  updated INTEGER NOT NULL,
  PRIMARY KEY (userId, groupId)
) STRICT, WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS IMRecentSession (
  id      INTEGER PRIMARY KEY,
  userId  INTEGER NOT NULL,
  peerId  INTEGER NOT NULL,
  type    INTEGER NOT NULL DEFAULT 0,
  status  INTEGER NOT NULL DEFAULT 0, -- 0 shown, 1 removed
  created INTEGER NOT NULL DEFAULT 0,
  updated INTEGER NOT NULL DEFAULT 0, -- last activity
  UNIQUE (userId, peerId, type)
) STRICT;
CREATE INDEX IF NOT EXISTS idx_IMRecentSession_recent ON IMRecentSession (userId, status, updated);

-- Ours: the last message a user has read. Only rises.
CREATE TABLE IF NOT EXISTS IMReadCursor (
  userId  INTEGER NOT NULL,
  type    INTEGER NOT NULL,
  peerId  INTEGER NOT NULL,
  msgId   INTEGER NOT NULL,
  updated INTEGER NOT NULL,
  PRIMARY KEY (userId, type, peerId)
) STRICT, WITHOUT ROWID;

-- Ours: the last message delivered to a terminal. Only rises.
CREATE TABLE IF NOT EXISTS IMDeliveryCursor (
  userId   INTEGER NOT NULL,
  terminal TEXT NOT NULL CHECK (length(terminal) <= 64),
  type     INTEGER NOT NULL,
  peerId   INTEGER NOT NULL,
  msgId    INTEGER NOT NULL,
  updated  INTEGER NOT NULL,
  PRIMARY KEY (userId, terminal, type, peerId)
) STRICT, WITHOUT ROWID;
