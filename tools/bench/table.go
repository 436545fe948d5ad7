package main

import (
	"fmt"
	"math"
	"slices"
)

// sample is what the rounds measured.
type sample []float64

// median returns the middle, and the bounds within which the true median lies 19
// times out of 20, whatever the distribution (from the sign test). With fewer
// than 9 rounds, the bounds are the lowest and the highest.
func (s sample) median() (low, middle, high float64) {
	if len(s) == 0 {
		return math.NaN(), math.NaN(), math.NaN()
	}
	sorted := slices.Sorted(slices.Values(s))
	n := len(sorted)
	outside := max(int(float64(n)/2-0.98*math.Sqrt(float64(n)))-1, 0)
	return sorted[outside], sorted[n/2], sorted[n-1-outside]
}

func (s sample) middle() float64 {
	_, middle, _ := s.median()
	return middle
}

// row is a row of the table.
type row struct {
	what    string
	figure  sample
	limit   float64 // the highest the figure may be, or 0 in a comparison of two builds
	unit    string  // empty for a ratio
	details string
}

// ratios returns the row of the first sample, ours, against the second, the
// reference's; and of ours against the third, the other build's, if there is one.
func ratios(what string, limit float64, took []sample, unit, reference string) (rows []row) {
	for i, other := range took[1:] {
		r := row{what: what, limit: limit}
		if i > 0 {
			r.what, r.limit, reference = what+", against the other build", 0, "the other"
		}
		r.details = quantity(took[0].middle(), unit) + ", " + reference + " " + quantity(other.middle(), unit)
		for round := range min(len(took[0]), len(other)) { // after a failure they differ
			r.figure = append(r.figure, took[0][round]/other[round])
		}
		rows = append(rows, r)
	}
	return rows
}

// verdict says whether the limit is held. It takes the whole range in which the
// median may lie, and says so if the limit lies within it.
func (r row) verdict() string {
	low, _, high := r.figure.median()
	switch {
	case r.limit == 0 && high < 1:
		return "less"
	case r.limit == 0 && low > 1:
		return "more"
	case r.limit == 0:
		return "no difference"
	case high <= r.limit:
		return "held"
	case low > r.limit:
		return "not held"
	}
	return "too noisy to tell"
}

// printTable prints rows in Markdown.
func printTable(rows []row) {
	fmt.Println("\n| what | figure | median lies in | limit | | details |\n| --- | --- | --- | --- | --- | --- |")
	for _, r := range rows {
		low, middle, high := r.figure.median()
		limit := "-"
		if r.limit != 0 {
			limit = quantity(r.limit, r.unit)
		}
		fmt.Printf("| %s | %s | %s to %s | %s | %s | %s |\n", r.what,
			quantity(middle, r.unit), quantity(low, r.unit), quantity(high, r.unit), limit, r.verdict(), r.details)
	}
}

// quantity formats a ratio, which has no unit, or anything else with its unit.
func quantity(x float64, unit string) string {
	if unit == "" {
		return fmt.Sprintf("%.2f", x)
	}
	return fmt.Sprintf("%.3g %s", x, unit)
}
