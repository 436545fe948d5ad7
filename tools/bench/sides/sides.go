// Package sides benchmarks ways to do the same thing against each other.
package sides

import (
	"slices"
	"testing"
	"time"
)

// Side is one of the ways.
type Side struct {
	Name string
	Do   func()
}

// Run runs the sides by turns, there and back again, in batches that should be
// long enough for each to pay for the garbage that it leaves. It reports the
// median of each side's batches, as ns/name, and its allocations, as allocs/name.
func Run(b *testing.B, batch int, sides ...Side) {
	took := make([][]time.Duration, len(sides))
	for i := 0; b.Loop(); i++ {
		for j := range sides {
			if i%2 == 1 {
				j = len(sides) - 1 - j
			}
			began := time.Now()
			for range batch {
				sides[j].Do()
			}
			took[j] = append(took[j], time.Since(began))
		}
	}
	b.ReportMetric(0, "ns/op") // of all sides together, which says nothing
	for i, side := range sides {
		slices.Sort(took[i])
		b.ReportMetric(float64(took[i][len(took[i])/2])/float64(batch), "ns/"+side.Name)
		b.ReportMetric(testing.AllocsPerRun(100, side.Do), "allocs/"+side.Name)
	}
}
