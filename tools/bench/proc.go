package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// cpuTime returns the CPU time that a process's threads have used.
func cpuTime(pid int) (total time.Duration, _ error) {
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	if err != nil || len(files) == 0 {
		return 0, fmt.Errorf("no CPU time of process %d in /proc", pid)
	}
	for _, file := range files {
		text, err := os.ReadFile(filepath.Clean(file))
		if err != nil {
			return 0, err
		}
		var used time.Duration
		if _, err := fmt.Sscan(string(text), &used); err != nil {
			return 0, err
		}
		total += used
	}
	return total, nil
}

// peakMemory returns the most memory that a process has had, in bytes.
func peakMemory(pid int) (float64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(text), "VmHWM:")
	var kilobytes float64
	_, err = fmt.Sscan(rest, &kilobytes)
	return kilobytes * 1024, err
}

// busyTime returns how long all processors have worked since the machine started, or 0
// if /proc does not say.
func busyTime() (total time.Duration) {
	text, err := os.ReadFile("/proc/stat")
	var name string
	var user, nice, system, idle, wait, irq, softirq, steal time.Duration
	_, scanned := fmt.Sscan(string(text), &name, &user, &nice, &system, &idle, &wait, &irq, &softirq, &steal)
	if err != nil || scanned != nil {
		return 0
	}
	return (user + nice + system + irq + softirq + steal) * 10 * time.Millisecond
}

// ownTime returns the CPU time that this process and its finished children have used.
func ownTime() (total time.Duration) {
	for _, who := range []int{syscall.RUSAGE_SELF, syscall.RUSAGE_CHILDREN} {
		var usage syscall.Rusage
		if syscall.Getrusage(who, &usage) == nil {
			total += time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
		}
	}
	return total
}
