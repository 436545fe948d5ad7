// Command bench measures what docs/performance.md promises, and prints it as a
// table: how the function starts, serves its first request, a warm request, 64 at
// once and many mini-programs, opens a phone payload, issues a token, and how large it
// is. Run it with make bench.
//
// Most figures are ratios to the smallest program that does the same job. Both
// sides take turns in every round, so that a busy machine slows both. The figure is
// the median of the rounds' ratios. With -against, another build of the bootstrap
// takes part in the same rounds, to compare a change with the commit before.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"time"
)

func main() {
	dir := flag.String("dir", "build/bench", "where the executables phone and reference are")
	against := flag.String("against", "", "also measure this `bootstrap`, another build of the function")
	short := flag.Bool("short", false, "two rounds of everything, to see that it works; the figures mean little")
	flag.Parse()
	if err := run(*dir, *against, *short); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(dir, against string, short bool) error {
	if runtime.GOOS != "linux" {
		return errors.New("needs Linux, because it reads /proc")
	}
	began, before := time.Now(), busyTime()
	sides := []string{filepath.Join(dir, "phone"), filepath.Join(dir, "reference")}
	if against != "" {
		sides = append(sides, against)
	}
	b, err := newBench(sides, short)
	if err != nil {
		return err
	}
	defer b.close()
	var rows []row
	for _, measure := range []func() ([]row, error){
		b.starts, b.startsFifty, b.startsTLS, b.startsIssuing, b.firstRequest, b.warm, b.token, b.keySet, b.open,
		b.many, b.neighbours, b.sizes,
	} {
		more, err := measure()
		if err != nil {
			return err
		}
		rows = append(rows, more...)
	}
	printTable(rows)
	elapsed := time.Since(began)
	cores := runtime.NumCPU()
	others := max(busyTime()-before-ownTime(), 0).Seconds() / elapsed.Seconds() / float64(cores)
	fmt.Printf("\n%d cores, %v. ", cores, elapsed.Round(time.Second))
	fmt.Printf("Other processes took %.0f %% of the machine", 100*others)
	if others > 0.05 {
		fmt.Print(": it was busy, so mistrust these figures")
	}
	fmt.Println(".")
	if short {
		fmt.Println("This was the short form. Its figures mean little.")
	}
	return nil
}
