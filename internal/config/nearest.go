package config

import "strings"

// Nearest returns the word of known that somebody who typed word most
// probably meant, or "" when none is near: a letter in three may be wrong, and
// no more than two. Of those that are as near, the one that word begins wins.
func Nearest(word string, known []string) string {
	best, bestAt := "", 1+min(2, len(word)/3)
	for _, k := range known {
		d := distance(strings.ToLower(word), strings.ToLower(k))
		if d < bestAt || best != "" && d == bestAt && begins(word, k) && !begins(word, best) {
			best, bestAt = k, d
		}
	}
	return best
}

// begins reports whether word is how known begins.
func begins(word, known string) bool {
	return strings.HasPrefix(strings.ToLower(known), strings.ToLower(word))
}

// distance counts the letters to insert, drop, replace or swap with their
// neighbour to make b of a. It gives up on long words.
func distance(a, b string) int {
	if len(a) > 64 || len(b) > 64 {
		return 64
	}
	before, last := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row := make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last = last, row
	}
	return last[len(b)]
}
