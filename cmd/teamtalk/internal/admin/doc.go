// Package admin is "teamtalk user" and "teamtalk group": what operators do to
// accounts and groups. The work itself is db_proxy's (dbproxy.Admin). It is
// done on the database directly or, while "teamtalk serve" holds the data
// folder, by that process: a Unix socket in the folder takes HTTP and JSON.
package admin
