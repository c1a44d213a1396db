// Package legacy makes databases as an original TeamTalk leaves them after
// some years, for tests: its tables, the rows of people who talked, what its
// Redis holds of them, and the dirt that its races, lost Redis data and
// administration site leave behind. A World also knows what must be true once
// such a database was taken over.
package legacy

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
)

// Tables of the original. Source: docs/protocol/storage.md §1.
const (
	user = `CREATE TABLE IMUser (id int(11) unsigned NOT NULL AUTO_INCREMENT, sex tinyint(1) unsigned NOT NULL DEFAULT 0,
		name varchar(32) NOT NULL DEFAULT '', domain varchar(32) NOT NULL DEFAULT '', nick varchar(32) NOT NULL DEFAULT '',
		password varchar(32) NOT NULL DEFAULT '', salt varchar(4) NOT NULL DEFAULT '', phone varchar(11) NOT NULL DEFAULT '',
		email varchar(64) NOT NULL DEFAULT '', avatar varchar(255) DEFAULT '', departId int(11) unsigned NOT NULL,
		status tinyint(2) unsigned DEFAULT 0, created int(11) unsigned NOT NULL, updated int(11) unsigned NOT NULL,
		push_shield_status tinyint(1) unsigned NOT NULL DEFAULT 0, sign_info varchar(128) NOT NULL DEFAULT '',
		PRIMARY KEY (id), KEY idx_domain (domain), KEY idx_name (name), KEY idx_phone (phone))`
	depart = `CREATE TABLE IMDepart (id int(11) unsigned NOT NULL AUTO_INCREMENT,
		departName varchar(64) NOT NULL DEFAULT '',
		priority int(11) unsigned NOT NULL DEFAULT 0, parentId int(11) unsigned NOT NULL,
			status int(11) unsigned NOT NULL DEFAULT 0,
		created int(11) unsigned NOT NULL, updated int(11) unsigned NOT NULL, PRIMARY KEY (id),
		KEY idx_departName (departName), KEY idx_priority_status (priority, status))`
	discovery = `CREATE TABLE IMDiscovery (id int(11) unsigned NOT NULL AUTO_INCREMENT,
		itemName varchar(64) NOT NULL DEFAULT '',
		itemUrl varchar(64) NOT NULL DEFAULT '', itemPriority int(11) unsigned NOT NULL,
			status int(11) unsigned NOT NULL DEFAULT 0,
		created int(11) unsigned NOT NULL, updated int(11) unsigned NOT NULL, PRIMARY KEY (id), KEY idx_itemName (itemName))`
	admin = `CREATE TABLE IMAdmin (id mediumint(6) unsigned NOT NULL AUTO_INCREMENT, uname varchar(40) NOT NULL,
		pwd char(32) NOT NULL, status tinyint(2) unsigned NOT NULL DEFAULT 0, created int(11) unsigned NOT NULL DEFAULT 0,
		updated int(11) unsigned NOT NULL DEFAULT 0, PRIMARY KEY (id))`
	group = `CREATE TABLE IMGroup (id int(11) NOT NULL AUTO_INCREMENT, name varchar(256) NOT NULL DEFAULT '',
		avatar varchar(256) NOT NULL DEFAULT '', creator int(11) unsigned NOT NULL DEFAULT 0,
		type tinyint(3) unsigned NOT NULL DEFAULT 1, userCnt int(11) unsigned NOT NULL DEFAULT 0,
		status tinyint(3) unsigned NOT NULL DEFAULT 1, version int(11) unsigned NOT NULL DEFAULT 1,
		lastChated int(11) unsigned NOT NULL DEFAULT 0, updated int(11) unsigned NOT NULL DEFAULT 0,
		created int(11) unsigned NOT NULL DEFAULT 0, PRIMARY KEY (id), KEY idx_name (name(191)), KEY idx_creator (creator))`
	member = `CREATE TABLE IMGroupMember (id int(11) NOT NULL AUTO_INCREMENT, groupId int(11) unsigned NOT NULL,
		userId int(11) unsigned NOT NULL, status tinyint(4) unsigned NOT NULL DEFAULT 1,
			created int(11) unsigned NOT NULL DEFAULT 0,
		updated int(11) unsigned NOT NULL DEFAULT 0, PRIMARY KEY (id), KEY idx_groupId_userId_status (groupId, userId,
			status),
		KEY idx_userId_status_updated (userId, status, updated), KEY idx_groupId_updated (groupId, updated))`
	single = `CREATE TABLE IMMessage_%d (id int(11) NOT NULL AUTO_INCREMENT, relateId int(11) unsigned NOT NULL,
		fromId int(11) unsigned NOT NULL, toId int(11) unsigned NOT NULL, msgId int(11) unsigned NOT NULL,
		content varchar(4096) DEFAULT '', type tinyint(2) unsigned NOT NULL DEFAULT 1,
			status tinyint(1) unsigned NOT NULL DEFAULT 0,
		updated int(11) unsigned NOT NULL, created int(11) unsigned NOT NULL, PRIMARY KEY (id),
		KEY idx_relateId_status_created (relateId, status, created),
		KEY idx_relateId_status_msgId_created (relateId, status, msgId, created),
		KEY idx_fromId_toId_created (fromId, toId, status))`
	groupMessage = `CREATE TABLE IMGroupMessage_%d (id int(11) NOT NULL AUTO_INCREMENT, groupId int(11) unsigned NOT NULL,
		userId int(11) unsigned NOT NULL, msgId int(11) unsigned NOT NULL, content varchar(4096) NOT NULL DEFAULT '',
		type tinyint(3) unsigned NOT NULL DEFAULT 2, status int(11) unsigned NOT NULL DEFAULT 0,
		updated int(11) unsigned NOT NULL DEFAULT 0, created int(11) unsigned NOT NULL DEFAULT 0, PRIMARY KEY (id),
		KEY idx_groupId_status_created (groupId, status, created),
		KEY idx_groupId_msgId_status_created (groupId, msgId, status, created))`
	session = `CREATE TABLE IMRecentSession (id int(11) NOT NULL AUTO_INCREMENT, userId int(11) unsigned NOT NULL,
		peerId int(11) unsigned NOT NULL, type tinyint(1) unsigned DEFAULT 0, status tinyint(1) unsigned DEFAULT 0,
		created int(11) unsigned NOT NULL DEFAULT 0, updated int(11) unsigned NOT NULL DEFAULT 0, PRIMARY KEY (id),
		KEY idx_userId_peerId_status_updated (userId, peerId, status, updated), KEY idx_userId_peerId_type (userId, peerId,
			type))`
	relation = `CREATE TABLE IMRelationShip (id int(11) NOT NULL AUTO_INCREMENT, smallId int(11) unsigned NOT NULL,
		bigId int(11) unsigned NOT NULL, status tinyint(1) unsigned DEFAULT 0, created int(11) unsigned NOT NULL DEFAULT 0,
		updated int(11) unsigned NOT NULL DEFAULT 0, PRIMARY KEY (id),
		KEY idx_smallId_bigId_status_updated (smallId, bigId, status, updated))`
	audio = `CREATE TABLE IMAudio (id int(11) NOT NULL AUTO_INCREMENT, fromId int(11) unsigned NOT NULL,
		toId int(11) unsigned NOT NULL, path varchar(255) DEFAULT '', size int(11) unsigned NOT NULL DEFAULT 0,
		duration int(11) unsigned NOT NULL DEFAULT 0, created int(11) unsigned NOT NULL, PRIMARY KEY (id),
		KEY idx_fromId_toId (fromId, toId))`
)

const (
	utf8mb4 = " ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin"
	utf8    = " ENGINE=InnoDB DEFAULT CHARSET=utf8"
)

// Names lists the tables of the original's SQL file, which has no
// IMTransmitFile.
func Names() []string {
	names := []string{
		"IMUser", "IMDepart", "IMDiscovery", "IMAdmin", "IMGroup", "IMGroupMember", "IMRecentSession", "IMRelationShip",
		"IMAudio",
	}
	for k := range 8 {
		names = append(names, fmt.Sprintf("IMMessage_%d", k), fmt.Sprintf("IMGroupMessage_%d", k))
	}
	return names
}

// Create makes the tables of the original in an empty database.
func Create(ctx context.Context, db *sql.DB) error {
	tables := []string{
		user + utf8mb4, depart + utf8mb4, discovery + utf8mb4, admin + utf8, group + utf8mb4, member + utf8,
		session + utf8, relation + utf8, audio + utf8mb4,
	}
	for k := range 8 {
		tables = append(tables, fmt.Sprintf(single, k)+utf8mb4, fmt.Sprintf(groupMessage, k)+utf8mb4)
	}
	tables = append(tables, "INSERT INTO IMAdmin (uname, pwd) VALUES ('admin', MD5('admin'))")
	for _, text := range tables {
		if _, err := db.ExecContext(ctx, text); err != nil {
			return fmt.Errorf("%.40s: %w", strings.TrimSpace(text), err)
		}
	}
	return nil
}
