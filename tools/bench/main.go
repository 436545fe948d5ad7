// Command bench measures what docs/performance.md promises of the function, and
// prints it as one table: make bench.
//
// A figure is a ratio wherever it can be: both sides run by turns in one round,
// many rounds follow each other, and the median of the rounds' ratios counts. It
// needs Linux, and nothing installed but Go.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"go.yaml.in/yaml/v3"
)

func main() {
	dir := flag.String("dir", "build/bench", "where the executables are: phone, hello and secretonly")
	short := flag.Bool("short", false, "two rounds of everything, to see that it works; the figures then say little")
	flag.Parse()
	if err := run(*dir, *short); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(dir string, short bool) error {
	if runtime.GOOS != "linux" {
		return errors.New("it reads /proc, and so needs Linux")
	}
	env, err := templateEnvironment("template.yaml")
	if err != nil {
		return err
	}
	began, before := time.Now(), busy()
	b, err := newBench(dir, env, short)
	if err != nil {
		return err
	}
	defer b.close()
	var rows []row
	for _, measure := range []func() ([]row, error){
		b.start, b.startTLS, b.firstRequest, b.handler, b.warm, b.quotas, b.open, b.many, b.sizes,
	} {
		more, err := measure()
		if err != nil {
			return err
		}
		rows = append(rows, more...)
	}
	printTable(rows)
	b.closeFunctions() // whose time is known once they have ended
	fmt.Printf("\n%d cores, GOMAXPROCS %s in the function, %v.\n", runtime.NumCPU(), value(env, "GOMAXPROCS"), time.Since(began).Round(time.Second))
	others := busy() - before - own()
	share := max(others, 0).Seconds() / time.Since(began).Seconds() / float64(runtime.NumCPU())
	fmt.Printf("Other processes took %.0f %% of the machine", 100*share)
	if share > 0.05 {
		fmt.Print(": it was busy, so mistrust these figures")
	}
	fmt.Println(".")
	if short {
		fmt.Println("This was the short form, whose figures say little.")
	}
	return nil
}

// printTable prints it in Markdown.
func printTable(rows []row) {
	fmt.Println("\n| what | figure | median lies in | limit | | details |\n| --- | --- | --- | --- | --- | --- |")
	for _, r := range rows {
		fmt.Println("| " + strings.Join(r.cells(), " | ") + " |")
	}
}

// templateEnvironment is what template.yaml gives to the function whatever the
// parameters are.
func templateEnvironment(file string) (env []string, _ error) {
	text, err := os.ReadFile(filepath.Clean(file))
	if err != nil {
		return nil, err
	}
	var template struct {
		Resources struct {
			PhoneFunction struct {
				Properties struct {
					Environment struct {
						Variables map[string]yaml.Node `yaml:"Variables"`
					} `yaml:"Environment"`
				} `yaml:"Properties"`
			} `yaml:"PhoneFunction"`
		} `yaml:"Resources"`
	}
	if err := yaml.Unmarshal(text, &template); err != nil {
		return nil, err
	}
	for name, node := range template.Resources.PhoneFunction.Properties.Environment.Variables {
		if node.Tag == "!!str" && node.Value != "" {
			env = append(env, name+"="+node.Value)
		}
	}
	return env, nil
}

// value is that of a variable.
func value(env []string, name string) string {
	for _, variable := range env {
		if text, ok := strings.CutPrefix(variable, name+"="); ok {
			return text
		}
	}
	return "not set"
}

// busy is the time that all processors have worked.
func busy() (total time.Duration) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0
	}
	var user, nice, system, idle, wait, irq, softirq, steal int64
	if _, err := fmt.Sscanf(string(text), "cpu %d %d %d %d %d %d %d %d", &user, &nice, &system, &idle, &wait, &irq, &softirq, &steal); err != nil {
		return 0
	}
	return time.Duration(user+nice+system+irq+softirq+steal) * 10 * time.Millisecond
}

// own is the part of it that this process and its children took.
func own() (total time.Duration) {
	for _, who := range []int{syscall.RUSAGE_SELF, syscall.RUSAGE_CHILDREN} {
		var usage syscall.Rusage
		if syscall.Getrusage(who, &usage) == nil {
			total += time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
		}
	}
	return total
}
