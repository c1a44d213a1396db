//go:build !unix

package bench

// connLimit returns how many connections one process may hold.
func connLimit() int { return 10_000 }
