// Package sql holds the migrations of the database: one folder per engine,
// files applied in the order of their numbers and recorded by goose. A file
// that was released is never edited; what changes is a new file in both
// folders.
package sql

import "embed"

// Files holds the folders "mysql" (MySQL and MariaDB) and "sqlite".
//
//go:embed mysql/*.sql sqlite/*.sql
var Files embed.FS
