-- Messages: single ones in the table relateId % 8, those of groups in
-- groupId % 8. The primary key is the sequence of a conversation and keeps a
-- second writer from numbering it; opId (ours) is unique per sender and makes
-- a repeated send find the first one. NULL: stored without operation id.

-- +goose Up
CREATE TABLE IF NOT EXISTS IMMessage_0 (
  id       INTEGER PRIMARY KEY,
  relateId INTEGER NOT NULL,
  fromId   INTEGER NOT NULL,
  toId     INTEGER NOT NULL,
  msgId    INTEGER NOT NULL,
  content  TEXT DEFAULT '' CHECK (length(content) <= 4096),
  type     INTEGER NOT NULL DEFAULT 1,
  status   INTEGER NOT NULL DEFAULT 0,
  updated  INTEGER NOT NULL,
  created  INTEGER NOT NULL,
  opId     BLOB CHECK (length(opId) = 16),
  UNIQUE (relateId, msgId),
  UNIQUE (fromId, opId)
) STRICT;

CREATE TABLE IF NOT EXISTS IMMessage_1 (
  id       INTEGER PRIMARY KEY,
  relateId INTEGER NOT NULL,
  fromId   INTEGER NOT NULL,
  toId     INTEGER NOT NULL,
  msgId    INTEGER NOT NULL,
  content  TEXT DEFAULT '' CHECK (length(content) <= 4096),
  type     INTEGER NOT NULL DEFAULT 1,
  status   INTEGER NOT NULL DEFAULT 0,
  updated  INTEGER NOT NULL,
  created  INTEGER NOT NULL,
  opId     BLOB CHECK (length(opId) = 16),
  UNIQUE (relateId, msgId),
  UNIQUE (fromId, opId)
) STRICT;

CREATE TABLE IF NOT EXISTS IMMessage_2 (
  id       INTEGER PRIMARY KEY,
  relateId INTEGER NOT NULL,
  fromId   INTEGER NOT NULL,
  toId     INTEGER NOT NULL,
  msgId    INTEGER NOT NULL,
  content  TEXT DEFAULT '' CHECK (length(content) <= 4096),
  type     INTEGER NOT NULL DEFAULT 1,
  status   INTEGER NOT NULL DEFAULT 0,
  updated  INTEGER NOT NULL,
  created  INTEGER NOT NULL,
  opId     BLOB CHECK (length(opId) = 16),
  UNIQUE (relateId, msgId),
  UNIQUE (fromId, opId)
) STRICT;

CREATE TABLE IF NOT EXISTS IMMessage_3 (
  id       INTEGER PRIMARY KEY,
  relateId INTEGER NOT NULL,
  fromId   INTEGER NOT NULL,
  toId     INTEGER NOT NULL,
  msgId    INTEGER NOT NULL,
  content  TEXT DEFAULT '' CHECK (length(content) <= 4096),
  type     INTEGER NOT NULL DEFAULT 1,
  status   INTEGER NOT NULL DEFAULT 0,
  updated  INTEGER NOT NULL,
  created  INTEGER NOT NULL,
  opId     BLOB CHECK (length(opId) = 16),
  UNIQUE (relateId, msgId),
  UNIQUE (fromId, opId)
) STRICT;

CREATE TABLE IF NOT EXISTS IMMessage_4 (
  id       INTEGER PRIMARY KEY,
  relateId INTEGER NOT NULL,
  fromId   INTEGER NOT NULL,
  toId     INTEGER NOT NULL,
  msgId    INTEGER NOT NULL,
  content  TEXT DEFAULT '' CHECK (length(content) <= 4096),
  type     INTEGER NOT NULL DEFAULT 1,
  status   INTEGER NOT NULL DEFAULT 0,
  updated  INTEGER NOT NULL,
  created  INTEGER NOT NULL,
  opId     BLOB CHECK (length(opId) = 16),
  UNIQUE (relateId, msgId),
  UNIQUE (fromId, opId)
) STRICT;

CREATE TABLE IF NOT EXISTS IMMessage_5 (
  id       INTEGER PRIMARY KEY,
  relateId INTEGER NOT NULL,
  fromId   INTEGER NOT NULL,
  toId     INTEGER NOT NULL,
  msgId    INTEGER NOT NULL,
  content  TEXT DEFAULT '' CHECK (length(content) <= 4096),
  type     INTEGER NOT NULL DEFAULT 1,
  status   INTEGER NOT NULL DEFAULT 0,
  updated  INTEGER NOT NULL,
  created  INTEGER NOT NULL,
  opId     BLOB CHECK (length(opId) = 16),
  UNIQUE (relateId, msgId),
  UNIQUE (fromId, opId)
) STRICT;

CREATE TABLE IF NOT EXISTS IMMessage_6 (
  id       INTEGER PRIMARY KEY,
  relateId INTEGER NOT NULL,
  fromId   INTEGER NOT NULL,
  toId     INTEGER NOT NULL,
  msgId    INTEGER NOT NULL,
  content  TEXT DEFAULT '' CHECK (length(content) <= 4096),
  type     INTEGER NOT NULL DEFAULT 1,
  status   INTEGER NOT NULL DEFAULT 0,
  updated  INTEGER NOT NULL,
  created  INTEGER NOT NULL,
  opId     BLOB CHECK (length(opId) = 16),
  UNIQUE (relateId, msgId),
  UNIQUE (fromId, opId)
) STRICT;

CREATE TABLE IF NOT EXISTS IMMessage_7 (
  id       INTEGER PRIMARY KEY,
  relateId INTEGER NOT NULL,
  fromId   INTEGER NOT NULL,
  toId     INTEGER NOT NULL,
  msgId    INTEGER NOT NULL,
  content  TEXT DEFAULT '' CHECK (length(content) <= 4096),
  type     INTEGER NOT NULL DEFAULT 1,
  status   INTEGER NOT NULL DEFAULT 0,
  updated  INTEGER NOT NULL,
  created  INTEGER NOT NULL,
  opId     BLOB CHECK (length(opId) = 16),
  UNIQUE (relateId, msgId),
  UNIQUE (fromId, opId)
) STRICT;

CREATE TABLE IF NOT EXISTS IMGroupMessage_0 (
  id      INTEGER PRIMARY KEY,
  groupId INTEGER NOT NULL,
  userId  INTEGER NOT NULL,
  msgId   INTEGER NOT NULL,
  content TEXT NOT NULL DEFAULT '' CHECK (length(content) <= 4096),
  type    INTEGER NOT NULL DEFAULT 2,
  status  INTEGER NOT NULL DEFAULT 0,
  updated INTEGER NOT NULL DEFAULT 0,
  created INTEGER NOT NULL DEFAULT 0,
  opId    BLOB CHECK (length(opId) = 16),
  UNIQUE (groupId, msgId),
  UNIQUE (userId, opId)
) STRICT;

CREATE TABLE IF NOT EXISTS IMGroupMessage_1 (
  id      INTEGER PRIMARY KEY,
  groupId INTEGER NOT NULL,
  userId  INTEGER NOT NULL,
  msgId   INTEGER NOT NULL,
  content TEXT NOT NULL DEFAULT '' CHECK (length(content) <= 4096),
  type    INTEGER NOT NULL DEFAULT 2,
  status  INTEGER NOT NULL DEFAULT 0,
  updated INTEGER NOT NULL DEFAULT 0,
  created INTEGER NOT NULL DEFAULT 0,
  opId    BLOB CHECK (length(opId) = 16),
  UNIQUE (groupId, msgId),
  UNIQUE (userId, opId)
) STRICT;

CREATE TABLE IF NOT EXISTS IMGroupMessage_2 (
  id      INTEGER PRIMARY KEY,
  groupId INTEGER NOT NULL,
  userId  INTEGER NOT NULL,
  msgId   INTEGER NOT NULL,
  content TEXT NOT NULL DEFAULT '' CHECK (length(content) <= 4096),
  type    INTEGER NOT NULL DEFAULT 2,
  status  INTEGER NOT NULL DEFAULT 0,
  updated INTEGER NOT NULL DEFAULT 0,
  created INTEGER NOT NULL DEFAULT 0,
  opId    BLOB CHECK (length(opId) = 16),
  UNIQUE (groupId, msgId),
  UNIQUE (userId, opId)
) STRICT;

CREATE TABLE IF NOT EXISTS IMGroupMessage_3 (
  id      INTEGER PRIMARY KEY,
  groupId INTEGER NOT NULL,
  userId  INTEGER NOT NULL,
  msgId   INTEGER NOT NULL,
  content TEXT NOT NULL DEFAULT '' CHECK (length(content) <= 4096),
  type    INTEGER NOT NULL DEFAULT 2,
  status  INTEGER NOT NULL DEFAULT 0,
  updated INTEGER NOT NULL DEFAULT 0,
  created INTEGER NOT NULL DEFAULT 0,
  opId    BLOB CHECK (length(opId) = 16),
  UNIQUE (groupId, msgId),
  UNIQUE (userId, opId)
) STRICT;

CREATE TABLE IF NOT EXISTS IMGroupMessage_4 (
  id      INTEGER PRIMARY KEY,
  groupId INTEGER NOT NULL,
  userId  INTEGER NOT NULL,
  msgId   INTEGER NOT NULL,
  content TEXT NOT NULL DEFAULT '' CHECK (length(content) <= 4096),
  type    INTEGER NOT NULL DEFAULT 2,
  status  INTEGER NOT NULL DEFAULT 0,
  updated INTEGER NOT NULL DEFAULT 0,
  created INTEGER NOT NULL DEFAULT 0,
  opId    BLOB CHECK (length(opId) = 16),
  UNIQUE (groupId, msgId),
  UNIQUE (userId, opId)
) STRICT;

CREATE TABLE IF NOT EXISTS IMGroupMessage_5 (
  id      INTEGER PRIMARY KEY,
  groupId INTEGER NOT NULL,
  userId  INTEGER NOT NULL,
  msgId   INTEGER NOT NULL,
  content TEXT NOT NULL DEFAULT '' CHECK (length(content) <= 4096),
  type    INTEGER NOT NULL DEFAULT 2,
  status  INTEGER NOT NULL DEFAULT 0,
  updated INTEGER NOT NULL DEFAULT 0,
  created INTEGER NOT NULL DEFAULT 0,
  opId    BLOB CHECK (length(opId) = 16),
  UNIQUE (groupId, msgId),
  UNIQUE (userId, opId)
) STRICT;

CREATE TABLE IF NOT EXISTS IMGroupMessage_6 (
  id      INTEGER PRIMARY KEY,
  groupId INTEGER NOT NULL,
  userId  INTEGER NOT NULL,
  msgId   INTEGER NOT NULL,
  content TEXT NOT NULL DEFAULT '' CHECK (length(content) <= 4096),
  type    INTEGER NOT NULL DEFAULT 2,
  status  INTEGER NOT NULL DEFAULT 0,
  updated INTEGER NOT NULL DEFAULT 0,
  created INTEGER NOT NULL DEFAULT 0,
  opId    BLOB CHECK (length(opId) = 16),
  UNIQUE (groupId, msgId),
  UNIQUE (userId, opId)
) STRICT;

CREATE TABLE IF NOT EXISTS IMGroupMessage_7 (
  id      INTEGER PRIMARY KEY,
  groupId INTEGER NOT NULL,
  userId  INTEGER NOT NULL,
  msgId   INTEGER NOT NULL,
  content TEXT NOT NULL DEFAULT '' CHECK (length(content) <= 4096),
  type    INTEGER NOT NULL DEFAULT 2,
  status  INTEGER NOT NULL DEFAULT 0,
  updated INTEGER NOT NULL DEFAULT 0,
  created INTEGER NOT NULL DEFAULT 0,
  opId    BLOB CHECK (length(opId) = 16),
  UNIQUE (groupId, msgId),
  UNIQUE (userId, opId)
) STRICT;

CREATE TABLE IF NOT EXISTS IMAudio (
  id       INTEGER PRIMARY KEY,
  fromId   INTEGER NOT NULL,
  toId     INTEGER NOT NULL, -- group id for a group
  path     TEXT NOT NULL DEFAULT '' CHECK (length(path) <= 255),
  size     INTEGER NOT NULL DEFAULT 0, -- bytes
  duration INTEGER NOT NULL DEFAULT 0, -- seconds
  created  INTEGER NOT NULL
) STRICT;

-- Files waiting for a receiver who was off-line.
CREATE TABLE IF NOT EXISTS IMTransmitFile (
  id       INTEGER PRIMARY KEY,
  fromId   INTEGER NOT NULL,
  toId     INTEGER NOT NULL,
  fileName TEXT NOT NULL DEFAULT '' CHECK (length(fileName) <= 256),
  size     INTEGER NOT NULL DEFAULT 0,
  taskId   TEXT NOT NULL DEFAULT '' CHECK (length(taskId) <= 64),
  status   INTEGER NOT NULL DEFAULT 0,
  created  INTEGER NOT NULL DEFAULT 0,
  updated  INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX IF NOT EXISTS idx_IMTransmitFile_waiting ON IMTransmitFile (toId, status, created);
CREATE INDEX IF NOT EXISTS idx_IMTransmitFile_task ON IMTransmitFile (fromId, toId, taskId);
