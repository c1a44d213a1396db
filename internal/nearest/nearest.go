// Package nearest finds the word that somebody most likely meant by a mistyped
// one.
package nearest

import "strings"

// most is the largest number of edits that still are typing errors.
const most = 2

// Of returns the candidate that is fewest edits away from a word, or "" if none
// is near. Upper and lower case are the same; the first of equals wins.
func Of(word string, candidates []string) string {
	best, least := "", most+1
	for _, candidate := range candidates {
		if strings.EqualFold(candidate, word) {
			return candidate
		}
		if d := distance(candidate, word); d < least && d < len(candidate) {
			best, least = candidate, d
		}
	}
	return best
}

// distance is the number of single-byte edits between two words.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}
