// Package dialog plays scenarios that read like conversations against running
// servers. It owns the language, the terminals and the judgement of what
// arrives; servers, accounts and faults belong to the World it is given.
//
// A script is a text file. A line beginning with # is prose, an empty line
// nothing. All others are
//
//	use WORDS                     what the scenario needs of its world; first line
//	alice@1 windows> login        the terminal of alice on server 1, a Windows client
//	alice> say bob "hello"        a terminal does something; lines do not wait
//	alice< ack bob 1              something arrives, within Patience
//	alice< no message             nothing of that sort has arrived (see below)
//	alice< nothing                nothing at all has arrived
//	! stop db_proxy 1             something happens to the world
//
// A name may have a part behind a dot to tell the terminals of one user apart:
// bob and bob.phone. Behind the server stand the client's profile and options
// ("caps=client_msg_id,nack"). The same name with a server again is a new
// connection.
//
// Arrivals of one sort must come in the order written, those of different
// sorts in any: a message may overtake an answer. "no" and "nothing" first ask
// the server for the time over the same connection, so whatever was sent
// before has arrived. At the end of a script nothing may be left over but news
// about presence, signatures and pictures: everybody gets those, they may come
// more than once, and older ones than the expected are passed over.
//
// "N times" before what is done or expected repeats it. "insist" before a
// log-in (on a new connection each time) or a message (the same bytes again)
// repeats it until it succeeds, or until what stands behind "until" arrives.
//
// In what is expected, * is any one word and ... any rest; $name is a variable,
// bound where it is first expected or by "! let". Every user has one with the
// own id.
package dialog
