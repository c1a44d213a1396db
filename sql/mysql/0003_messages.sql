-- Messages: single ones in the table relateId % 8, those of groups in
-- groupId % 8. The primary key is the sequence of a conversation and keeps a
-- second writer from numbering it; opId (ours) is unique per sender and makes
-- a repeated send find the first one. NULL: stored without operation id.

-- +goose Up
CREATE TABLE IF NOT EXISTS IMMessage_0 (
  id       bigint unsigned NOT NULL AUTO_INCREMENT,
  relateId int unsigned NOT NULL,
  fromId   int unsigned NOT NULL,
  toId     int unsigned NOT NULL,
  msgId    int unsigned NOT NULL,
  content  varchar(4096) DEFAULT '',
  type     tinyint unsigned NOT NULL DEFAULT 1,
  status   tinyint unsigned NOT NULL DEFAULT 0,
  updated  int unsigned NOT NULL,
  created  int unsigned NOT NULL,
  opId     binary(16) DEFAULT NULL,
  PRIMARY KEY (relateId, msgId),
  KEY idx_id (id),
  UNIQUE KEY uk_op (fromId, opId)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS IMMessage_1 (
  id       bigint unsigned NOT NULL AUTO_INCREMENT,
  relateId int unsigned NOT NULL,
  fromId   int unsigned NOT NULL,
  toId     int unsigned NOT NULL,
  msgId    int unsigned NOT NULL,
  content  varchar(4096) DEFAULT '',
  type     tinyint unsigned NOT NULL DEFAULT 1,
  status   tinyint unsigned NOT NULL DEFAULT 0,
  updated  int unsigned NOT NULL,
  created  int unsigned NOT NULL,
  opId     binary(16) DEFAULT NULL,
  PRIMARY KEY (relateId, msgId),
  KEY idx_id (id),
  UNIQUE KEY uk_op (fromId, opId)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS IMMessage_2 (
  id       bigint unsigned NOT NULL AUTO_INCREMENT,
  relateId int unsigned NOT NULL,
  fromId   int unsigned NOT NULL,
  toId     int unsigned NOT NULL,
  msgId    int unsigned NOT NULL,
  content  varchar(4096) DEFAULT '',
  type     tinyint unsigned NOT NULL DEFAULT 1,
  status   tinyint unsigned NOT NULL DEFAULT 0,
  updated  int unsigned NOT NULL,
  created  int unsigned NOT NULL,
  opId     binary(16) DEFAULT NULL,
  PRIMARY KEY (relateId, msgId),
  KEY idx_id (id),
  UNIQUE KEY uk_op (fromId, opId)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS IMMessage_3 (
  id       bigint unsigned NOT NULL AUTO_INCREMENT,
  relateId int unsigned NOT NULL,
  fromId   int unsigned NOT NULL,
  toId     int unsigned NOT NULL,
  msgId    int unsigned NOT NULL,
  content  varchar(4096) DEFAULT '',
  type     tinyint unsigned NOT NULL DEFAULT 1,
  status   tinyint unsigned NOT NULL DEFAULT 0,
  updated  int unsigned NOT NULL,
  created  int unsigned NOT NULL,
  opId     binary(16) DEFAULT NULL,
  PRIMARY KEY (relateId, msgId),
  KEY idx_id (id),
  UNIQUE KEY uk_op (fromId, opId)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS IMMessage_4 (
  id       bigint unsigned NOT NULL AUTO_INCREMENT,
  relateId int unsigned NOT NULL,
  fromId   int unsigned NOT NULL,
  toId     int unsigned NOT NULL,
  msgId    int unsigned NOT NULL,
  content  varchar(4096) DEFAULT '',
  type     tinyint unsigned NOT NULL DEFAULT 1,
  status   tinyint unsigned NOT NULL DEFAULT 0,
  updated  int unsigned NOT NULL,
  created  int unsigned NOT NULL,
  opId     binary(16) DEFAULT NULL,
  PRIMARY KEY (relateId, msgId),
  KEY idx_id (id),
  UNIQUE KEY uk_op (fromId, opId)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS IMMessage_5 (
  id       bigint unsigned NOT NULL AUTO_INCREMENT,
  relateId int unsigned NOT NULL,
  fromId   int unsigned NOT NULL,
  toId     int unsigned NOT NULL,
  msgId    int unsigned NOT NULL,
  content  varchar(4096) DEFAULT '',
  type     tinyint unsigned NOT NULL DEFAULT 1,
  status   tinyint unsigned NOT NULL DEFAULT 0,
  updated  int unsigned NOT NULL,
  created  int unsigned NOT NULL,
  opId     binary(16) DEFAULT NULL,
  PRIMARY KEY (relateId, msgId),
  KEY idx_id (id),
  UNIQUE KEY uk_op (fromId, opId)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS IMMessage_6 (
  id       bigint unsigned NOT NULL AUTO_INCREMENT,
  relateId int unsigned NOT NULL,
  fromId   int unsigned NOT NULL,
  toId     int unsigned NOT NULL,
  msgId    int unsigned NOT NULL,
  content  varchar(4096) DEFAULT '',
  type     tinyint unsigned NOT NULL DEFAULT 1,
  status   tinyint unsigned NOT NULL DEFAULT 0,
  updated  int unsigned NOT NULL,
  created  int unsigned NOT NULL,
  opId     binary(16) DEFAULT NULL,
  PRIMARY KEY (relateId, msgId),
  KEY idx_id (id),
  UNIQUE KEY uk_op (fromId, opId)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS IMMessage_7 (
  id       bigint unsigned NOT NULL AUTO_INCREMENT,
  relateId int unsigned NOT NULL,
  fromId   int unsigned NOT NULL,
  toId     int unsigned NOT NULL,
  msgId    int unsigned NOT NULL,
  content  varchar(4096) DEFAULT '',
  type     tinyint unsigned NOT NULL DEFAULT 1,
  status   tinyint unsigned NOT NULL DEFAULT 0,
  updated  int unsigned NOT NULL,
  created  int unsigned NOT NULL,
  opId     binary(16) DEFAULT NULL,
  PRIMARY KEY (relateId, msgId),
  KEY idx_id (id),
  UNIQUE KEY uk_op (fromId, opId)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS IMGroupMessage_0 (
  id      bigint unsigned NOT NULL AUTO_INCREMENT,
  groupId int unsigned NOT NULL,
  userId  int unsigned NOT NULL,
  msgId   int unsigned NOT NULL,
  content varchar(4096) NOT NULL DEFAULT '',
  type    tinyint unsigned NOT NULL DEFAULT 2,
  status  int unsigned NOT NULL DEFAULT 0,
  updated int unsigned NOT NULL DEFAULT 0,
  created int unsigned NOT NULL DEFAULT 0,
  opId    binary(16) DEFAULT NULL,
  PRIMARY KEY (groupId, msgId),
  KEY idx_id (id),
  UNIQUE KEY uk_op (userId, opId)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS IMGroupMessage_1 (
  id      bigint unsigned NOT NULL AUTO_INCREMENT,
  groupId int unsigned NOT NULL,
  userId  int unsigned NOT NULL,
  msgId   int unsigned NOT NULL,
  content varchar(4096) NOT NULL DEFAULT '',
  type    tinyint unsigned NOT NULL DEFAULT 2,
  status  int unsigned NOT NULL DEFAULT 0,
  updated int unsigned NOT NULL DEFAULT 0,
  created int unsigned NOT NULL DEFAULT 0,
  opId    binary(16) DEFAULT NULL,
  PRIMARY KEY (groupId, msgId),
  KEY idx_id (id),
  UNIQUE KEY uk_op (userId, opId)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS IMGroupMessage_2 (
  id      bigint unsigned NOT NULL AUTO_INCREMENT,
  groupId int unsigned NOT NULL,
  userId  int unsigned NOT NULL,
  msgId   int unsigned NOT NULL,
  content varchar(4096) NOT NULL DEFAULT '',
  type    tinyint unsigned NOT NULL DEFAULT 2,
  status  int unsigned NOT NULL DEFAULT 0,
  updated int unsigned NOT NULL DEFAULT 0,
  created int unsigned NOT NULL DEFAULT 0,
  opId    binary(16) DEFAULT NULL,
  PRIMARY KEY (groupId, msgId),
  KEY idx_id (id),
  UNIQUE KEY uk_op (userId, opId)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS IMGroupMessage_3 (
  id      bigint unsigned NOT NULL AUTO_INCREMENT,
  groupId int unsigned NOT NULL,
  userId  int unsigned NOT NULL,
  msgId   int unsigned NOT NULL,
  content varchar(4096) NOT NULL DEFAULT '',
  type    tinyint unsigned NOT NULL DEFAULT 2,
  status  int unsigned NOT NULL DEFAULT 0,
  updated int unsigned NOT NULL DEFAULT 0,
  created int unsigned NOT NULL DEFAULT 0,
  opId    binary(16) DEFAULT NULL,
  PRIMARY KEY (groupId, msgId),
  KEY idx_id (id),
  UNIQUE KEY uk_op (userId, opId)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS IMGroupMessage_4 (
  id      bigint unsigned NOT NULL AUTO_INCREMENT,
  groupId int unsigned NOT NULL,
  userId  int unsigned NOT NULL,
  msgId   int unsigned NOT NULL,
  content varchar(4096) NOT NULL DEFAULT '',
  type    tinyint unsigned NOT NULL DEFAULT 2,
  status  int unsigned NOT NULL DEFAULT 0,
  updated int unsigned NOT NULL DEFAULT 0,
  created int unsigned NOT NULL DEFAULT 0,
  opId    binary(16) DEFAULT NULL,
  PRIMARY KEY (groupId, msgId),
  KEY idx_id (id),
  UNIQUE KEY uk_op (userId, opId)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS IMGroupMessage_5 (
  id      bigint unsigned NOT NULL AUTO_INCREMENT,
  groupId int unsigned NOT NULL,
  userId  int unsigned NOT NULL,
  msgId   int unsigned NOT NULL,
  content varchar(4096) NOT NULL DEFAULT '',
  type    tinyint unsigned NOT NULL DEFAULT 2,
  status  int unsigned NOT NULL DEFAULT 0,
  updated int unsigned NOT NULL DEFAULT 0,
  created int unsigned NOT NULL DEFAULT 0,
  opId    binary(16) DEFAULT NULL,
  PRIMARY KEY (groupId, msgId),
  KEY idx_id (id),
  UNIQUE KEY uk_op (userId, opId)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS IMGroupMessage_6 (
  id      bigint unsigned NOT NULL AUTO_INCREMENT,
  groupId int unsigned NOT NULL,
  userId  int unsigned NOT NULL,
  msgId   int unsigned NOT NULL,
  content varchar(4096) NOT NULL DEFAULT '',
  type    tinyint unsigned NOT NULL DEFAULT 2,
  status  int unsigned NOT NULL DEFAULT 0,
  updated int unsigned NOT NULL DEFAULT 0,
  created int unsigned NOT NULL DEFAULT 0,
  opId    binary(16) DEFAULT NULL,
  PRIMARY KEY (groupId, msgId),
  KEY idx_id (id),
  UNIQUE KEY uk_op (userId, opId)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS IMGroupMessage_7 (
  id      bigint unsigned NOT NULL AUTO_INCREMENT,
  groupId int unsigned NOT NULL,
  userId  int unsigned NOT NULL,
  msgId   int unsigned NOT NULL,
  content varchar(4096) NOT NULL DEFAULT '',
  type    tinyint unsigned NOT NULL DEFAULT 2,
  status  int unsigned NOT NULL DEFAULT 0,
  updated int unsigned NOT NULL DEFAULT 0,
  created int unsigned NOT NULL DEFAULT 0,
  opId    binary(16) DEFAULT NULL,
  PRIMARY KEY (groupId, msgId),
  KEY idx_id (id),
  UNIQUE KEY uk_op (userId, opId)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS IMAudio (
  id       int unsigned NOT NULL AUTO_INCREMENT,
  fromId   int unsigned NOT NULL,
  toId     int unsigned NOT NULL,                              -- group id for a group
  path     varchar(255) NOT NULL DEFAULT '',
  size     int unsigned NOT NULL DEFAULT 0,                    -- bytes
  duration int unsigned NOT NULL DEFAULT 0,                    -- seconds
  created  int unsigned NOT NULL,
  PRIMARY KEY (id)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- Files waiting for a receiver who was off-line.
CREATE TABLE IF NOT EXISTS IMTransmitFile (
  id       bigint unsigned NOT NULL AUTO_INCREMENT,
  fromId   int unsigned NOT NULL,
  toId     int unsigned NOT NULL,
  fileName varchar(256) NOT NULL DEFAULT '',
  size     int unsigned NOT NULL DEFAULT 0,
  taskId   varchar(64) NOT NULL DEFAULT '',
  status   tinyint unsigned NOT NULL DEFAULT 0,
  created  int unsigned NOT NULL DEFAULT 0,
  updated  int unsigned NOT NULL DEFAULT 0,
  PRIMARY KEY (id),
  KEY idx_waiting (toId, status, created),
  KEY idx_task (fromId, toId, taskId)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
