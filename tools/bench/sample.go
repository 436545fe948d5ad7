package main

import (
	"fmt"
	"math"
	"slices"
)

// sample is what the rounds of a row gave.
type sample []float64

// median is the middle. Between low and high the true median is found 19 times of
// 20, whatever the distribution (as in the sign test); of fewer than 9 rounds, the
// lowest and the highest are these.
func (s sample) median() (low, middle, high float64) {
	if len(s) == 0 {
		return math.NaN(), math.NaN(), math.NaN()
	}
	sorted := slices.Sorted(slices.Values(s))
	n := len(sorted)
	outside := max(int(float64(n)/2-0.98*math.Sqrt(float64(n)))-1, 0)
	return sorted[outside], sorted[n/2], sorted[n-1-outside]
}

// over is the sample of the rounds' ratios: both sides of a round met the same
// machine.
func (s sample) over(reference sample) sample {
	ratios := make(sample, len(s))
	for i := range s {
		ratios[i] = s[i] / reference[i]
	}
	return ratios
}

// percentile is the one of values, which it sorts.
func percentile(values []float64, p float64) float64 {
	slices.Sort(values)
	return values[min(int(p*float64(len(values))), len(values)-1)]
}

// row is one of the table.
type row struct {
	what    string
	figure  sample
	limit   float64 // the figure's highest; 0 where there is none
	unit    string  // the figure's, "" for a ratio
	details string  // both sides, where the figure is a ratio, and what else was seen
	missing string  // why it was not measured
}

// verdict says whether the limit is held: by the median and all that it may be,
// or not by any of that. What lies between cannot be told on such a machine.
func (r row) verdict() string {
	low, _, high := r.figure.median()
	switch {
	case r.missing != "":
		return "not measured: " + r.missing
	case r.limit == 0:
		return "no limit"
	case high <= r.limit:
		return "held"
	case low > r.limit:
		return "not held"
	}
	return "too noisy to tell"
}

// cells are the row's in the table.
func (r row) cells() []string {
	figure, spread, limit := "-", "-", "-"
	if r.missing == "" {
		low, middle, high := r.figure.median()
		figure, spread = r.number(middle), r.number(low)+" to "+r.number(high)
	}
	if r.limit != 0 {
		limit = r.number(r.limit)
	}
	return []string{r.what, figure, spread, limit, r.verdict(), r.details}
}

func (r row) number(x float64) string {
	switch r.unit {
	case "":
		return fmt.Sprintf("%.2f", x)
	case "allocations":
		return fmt.Sprintf("%.0f", x)
	}
	return quantity(x, r.unit)
}

// quantity has three digits, or all before the point.
func quantity(x float64, unit string) string {
	digits := 2
	for y := math.Abs(x); y >= 10 && digits > 0; y /= 10 {
		digits--
	}
	return fmt.Sprintf("%.*f %s", digits, x, unit)
}
