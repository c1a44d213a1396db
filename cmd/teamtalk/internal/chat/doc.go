// Package chat is the terminal client: `teamtalk chat`. It has four layers, and
// only the outer two do I/O:
//
//	conversation, model   what is known; Update turns an event into effects and notices
//	link                  runs the session, executes effects, brings their results as events
//	screen / plain        a full-screen and a line-oriented view of one model
//
// Every event goes through Model.Update on one goroutine, the view's.
package chat
