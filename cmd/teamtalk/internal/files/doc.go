// Package files is "teamtalk send" and "teamtalk get": files of messages, sent
// and fetched with a progress bar. A command that was stopped, or whose
// machine was, goes on where it stood when it is repeated.
package files
