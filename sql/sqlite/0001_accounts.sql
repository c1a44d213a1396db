-- Accounts, departments, and what every db_proxy must learn about changes.
-- Names and columns are those of TeamTalk; ours are marked. All times are
-- Unix seconds.

-- +goose Up
CREATE TABLE IF NOT EXISTS IMUser (
  id                 INTEGER PRIMARY KEY AUTOINCREMENT,
  sex                INTEGER NOT NULL DEFAULT 0, -- 0 unknown, 1 man, 2 woman
  name               TEXT NOT NULL DEFAULT '' CHECK (length(name) <= 32), -- log-in name
  domain             TEXT NOT NULL DEFAULT '' CHECK (length(domain) <= 32),
  nick               TEXT NOT NULL DEFAULT '' CHECK (length(nick) <= 32),
  password           TEXT NOT NULL DEFAULT '' CHECK (length(password) <= 32), -- md5 hex of (client's md5 + salt), '' once blanked
  salt               TEXT NOT NULL DEFAULT '' CHECK (length(salt) <= 4),
  phone              TEXT NOT NULL DEFAULT '' CHECK (length(phone) <= 11),
  email              TEXT NOT NULL DEFAULT '' CHECK (length(email) <= 64),
  avatar             TEXT DEFAULT '' CHECK (length(avatar) <= 255),
  departId           INTEGER NOT NULL DEFAULT 0,
  status             INTEGER NOT NULL DEFAULT 0, -- 0 may log in, 1 probation, 2 regular, 3 left, 4 intern
  created            INTEGER NOT NULL DEFAULT 0,
  updated            INTEGER NOT NULL DEFAULT 0,
  push_shield_status INTEGER NOT NULL DEFAULT 0, -- 1: no push at night
  sign_info          TEXT NOT NULL DEFAULT '' CHECK (length(sign_info) <= 128),
  password_hash      TEXT NOT NULL DEFAULT '' CHECK (length(password_hash) <= 255), -- ours: argon2id of the client's md5, PHC form
  UNIQUE (name)
) STRICT;
CREATE INDEX IF NOT EXISTS idx_IMUser_updated ON IMUser (updated);

CREATE TABLE IF NOT EXISTS IMDepart (
  id         INTEGER PRIMARY KEY,
  departName TEXT NOT NULL DEFAULT '' CHECK (length(departName) <= 64),
  priority   INTEGER NOT NULL DEFAULT 0,
  parentId   INTEGER NOT NULL DEFAULT 0, -- 0: top
  status     INTEGER NOT NULL DEFAULT 0, -- 1: deleted
  created    INTEGER NOT NULL DEFAULT 0,
  updated    INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX IF NOT EXISTS idx_IMDepart_updated ON IMDepart (updated);

-- Used by the administration site only.
CREATE TABLE IF NOT EXISTS IMAdmin (
  id      INTEGER PRIMARY KEY,
  uname   TEXT NOT NULL CHECK (length(uname) <= 40),
  pwd     TEXT NOT NULL CHECK (length(pwd) <= 32), -- md5 hex
  status  INTEGER NOT NULL DEFAULT 0,
  created INTEGER NOT NULL DEFAULT 0,
  updated INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE IF NOT EXISTS IMDiscovery (
  id           INTEGER PRIMARY KEY,
  itemName     TEXT NOT NULL DEFAULT '' CHECK (length(itemName) <= 64),
  itemUrl      TEXT NOT NULL DEFAULT '' CHECK (length(itemUrl) <= 64),
  itemPriority INTEGER NOT NULL DEFAULT 0,
  status       INTEGER NOT NULL DEFAULT 0,
  created      INTEGER NOT NULL DEFAULT 0,
  updated      INTEGER NOT NULL DEFAULT 0
) STRICT;

-- Ours: the push token of a user's phone; a token belongs to one user.
CREATE TABLE IF NOT EXISTS IMDeviceToken (
  userId     INTEGER NOT NULL,
  clientType INTEGER NOT NULL,
  token      TEXT NOT NULL CHECK (length(token) <= 255),
  updated    INTEGER NOT NULL,
  PRIMARY KEY (userId),
  UNIQUE (token)
) STRICT, WITHOUT ROWID;

-- Ours: what changed, in the order of the commits. kind: 1 user, 2 group
-- (members included), 3 session removed (subject: the user).
CREATE TABLE IF NOT EXISTS IMChange (
  id      INTEGER PRIMARY KEY AUTOINCREMENT,
  kind    INTEGER NOT NULL,
  subject INTEGER NOT NULL,
  created INTEGER NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS idx_IMChange_created ON IMChange (created);

-- Ours: one row. Whoever appends to IMChange locks it first, so that the ids
-- become visible in order; userUpdated is the last value given to
-- IMUser.updated, which rises with every change.
CREATE TABLE IF NOT EXISTS IMClock (
  id          INTEGER NOT NULL,
  userUpdated INTEGER NOT NULL,
  PRIMARY KEY (id)
) STRICT;

INSERT OR IGNORE INTO IMClock (id, userUpdated) VALUES (1, 0);
