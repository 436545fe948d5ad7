package main

import (
	"fmt"
	"math"
	"slices"
)

// sample has one figure for each round.
type sample []float64

// median returns the sample's median, and bounds for the true median. The true median
// lies within them 19 times out of 20, for any distribution (sign test). With fewer than
// 9 rounds, the bounds are the lowest and the highest figure.
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
	limit   float64 // the highest permitted figure, or 0 in a comparison of two builds
	unit    string  // empty for a ratio
	details string
}

// ratios returns a row for the function against the reference and, if there is a
// third sample, a row for the function against the other build.
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

// verdict says whether the figure is within the limit. It cannot tell if the limit
// lies within the bounds of the median.
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
