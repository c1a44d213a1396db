package httpserver

import "slices"

// What API keys may be allowed to do.
const (
	UsersRead     = "users:read"
	UsersWrite    = "users:write"
	GroupsRead    = "groups:read"
	GroupsWrite   = "groups:write"
	MessagesRead  = "messages:read"
	MessagesWrite = "messages:write"
	PresenceRead  = "presence:read"
	PresenceWrite = "presence:write"

	// ScopeAll stands for all of them, also for those to come.
	ScopeAll = "all"
)

// Scopes returns every scope but ScopeAll.
func Scopes() []string {
	return []string{
		UsersRead, UsersWrite, GroupsRead, GroupsWrite, MessagesRead, MessagesWrite, PresenceRead, PresenceWrite,
	}
}

// allows reports whether granted scopes cover one.
func allows(granted []string, scope string) bool {
	return slices.Contains(granted, scope) || slices.Contains(granted, ScopeAll)
}
