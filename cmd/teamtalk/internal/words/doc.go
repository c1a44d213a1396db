// Package words holds what the commands say to people: every refusal and every
// text of the chat screen in each language, in tables, and how an error becomes
// such words. What scripts read is not here: it is English everywhere.
package words
