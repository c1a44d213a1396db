-- Accounts, departments, and what every db_proxy must learn about changes.
-- Names and columns are those of TeamTalk; ours are marked. All times are
-- Unix seconds.

-- +goose Up
CREATE TABLE IF NOT EXISTS IMUser (
  id                 int unsigned NOT NULL AUTO_INCREMENT,
  sex                tinyint unsigned NOT NULL DEFAULT 0,      -- 0 unknown, 1 man, 2 woman
  name               varchar(32) NOT NULL DEFAULT '',          -- log-in name
  domain             varchar(32) NOT NULL DEFAULT '',
  nick               varchar(32) NOT NULL DEFAULT '',
  password           varchar(32) NOT NULL DEFAULT '',          -- md5 hex of (client's md5 + salt), '' once blanked
  salt               varchar(4) NOT NULL DEFAULT '',
  phone              varchar(11) NOT NULL DEFAULT '',
  email              varchar(64) NOT NULL DEFAULT '',
  avatar             varchar(255) DEFAULT '',
  departId           int unsigned NOT NULL DEFAULT 0,
  status             tinyint unsigned NOT NULL DEFAULT 0,      -- 0 may log in, 1 probation, 2 regular, 3 left, 4 intern
  created            int unsigned NOT NULL DEFAULT 0,
  updated            int unsigned NOT NULL DEFAULT 0,
  push_shield_status tinyint unsigned NOT NULL DEFAULT 0,      -- 1: no push at night
  sign_info          varchar(128) NOT NULL DEFAULT '',
  password_hash      varchar(255) NOT NULL DEFAULT '',         -- ours: argon2id of the client's md5, PHC form
  PRIMARY KEY (id),
  UNIQUE KEY uk_name (name),
  KEY idx_updated (updated)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS IMDepart (
  id         int unsigned NOT NULL AUTO_INCREMENT,
  departName varchar(64) NOT NULL DEFAULT '',
  priority   int unsigned NOT NULL DEFAULT 0,
  parentId   int unsigned NOT NULL DEFAULT 0,                  -- 0: top
  status     int unsigned NOT NULL DEFAULT 0,                  -- 1: deleted
  created    int unsigned NOT NULL DEFAULT 0,
  updated    int unsigned NOT NULL DEFAULT 0,
  PRIMARY KEY (id),
  KEY idx_updated (updated)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- Used by the administration site only.
CREATE TABLE IF NOT EXISTS IMAdmin (
  id      mediumint unsigned NOT NULL AUTO_INCREMENT,
  uname   varchar(40) NOT NULL,
  pwd     char(32) NOT NULL,                                   -- md5 hex
  status  tinyint unsigned NOT NULL DEFAULT 0,
  created int unsigned NOT NULL DEFAULT 0,
  updated int unsigned NOT NULL DEFAULT 0,
  PRIMARY KEY (id)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS IMDiscovery (
  id           int unsigned NOT NULL AUTO_INCREMENT,
  itemName     varchar(64) NOT NULL DEFAULT '',
  itemUrl      varchar(64) NOT NULL DEFAULT '',
  itemPriority int unsigned NOT NULL DEFAULT 0,
  status       int unsigned NOT NULL DEFAULT 0,
  created      int unsigned NOT NULL DEFAULT 0,
  updated      int unsigned NOT NULL DEFAULT 0,
  PRIMARY KEY (id)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- Ours: the push token of a user's phone; a token belongs to one user.
CREATE TABLE IF NOT EXISTS IMDeviceToken (
  userId     int unsigned NOT NULL,
  clientType tinyint unsigned NOT NULL,
  token      varbinary(255) NOT NULL,                         -- not a text: its key has room in every row format
  updated    int unsigned NOT NULL,
  PRIMARY KEY (userId),
  UNIQUE KEY uk_token (token)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- Ours: what changed, in the order of the commits. kind: 1 user, 2 group
-- (members included), 3 session removed (subject: the user).
CREATE TABLE IF NOT EXISTS IMChange (
  id      bigint unsigned NOT NULL AUTO_INCREMENT,
  kind    tinyint unsigned NOT NULL,
  subject int unsigned NOT NULL,
  created int unsigned NOT NULL,
  PRIMARY KEY (id),
  KEY idx_created (created)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- Ours: one row. Whoever appends to IMChange locks it first, so that the ids
-- become visible in order; userUpdated is the last value given to
-- IMUser.updated, which rises with every change.
CREATE TABLE IF NOT EXISTS IMClock (
  id          tinyint unsigned NOT NULL,
  userUpdated int unsigned NOT NULL,
  PRIMARY KEY (id)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

INSERT IGNORE INTO IMClock (id, userUpdated) VALUES (1, 0);
