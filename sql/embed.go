// Package sql holds the migrations of the database: one folder per engine,
// files applied in the order of their numbers and recorded by goose. A file
// that was released is never edited; what changes is a new file in both
// folders. The exception is a file that some servers refuse: it is made to
// pass there, and a new file brings the others to the same.
//
// Every table of MySQL names its row format, and no key has more than 767
// bytes in one column: so it can be made on every server and with all of its
// settings.
package sql

import "embed"

// Files holds the folders "mysql" (MySQL and MariaDB) and "sqlite".
//
//go:embed mysql/*.sql sqlite/*.sql
var Files embed.FS
