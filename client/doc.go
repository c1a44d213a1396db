// Package client is the client side of the TeamTalk protocol over plain
// sockets: it finds a msg_server, logs in, sends requests and delivers what
// the server pushes. The command line, the load generator and the end-to-end
// tests share it, so it can also speak to an original server and play every
// old client type (Profile). It keeps no history and draws no screen.
//
// A Client is one connection with at most two goroutines: one reads, a second
// exists only while the socket does not take what is to be written.
//
//	c, err := client.Dial(ctx, client.Options{LoginURL: url, User: "alice", Password: "12345", Handler: onEvent})
//	id, err := c.SendText(ctx, im.Single, peer, "hello")
//
// Session keeps a log-in alive over lost connections; RawConn sends and
// receives arbitrary bytes for tests of bad input.
package client
