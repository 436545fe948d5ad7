package main

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"sync"
	"time"

	"wechat-phone/local/lambdatest"
)

// rounds measures each side n times. The sides take turns, and every other round
// reverses their order, so that none always comes first.
func (b *bench) rounds(n, sides int, measure func(side int) error) error {
	if b.short {
		n = 2
	}
	for i := range n {
		for side := range sides {
			if i%2 == 1 {
				side = sides - 1 - side
			}
			if err := measure(side); err != nil {
				return err
			}
		}
	}
	return nil
}

// starts measures the time from exec until the function requests its first event.
func (b *bench) starts() ([]row, error) {
	took := make([]sample, len(b.sides))
	err := b.rounds(301, len(b.sides), func(i int) error {
		return b.timeStart(&took[i], b.sides[i], b.near)
	})
	return ratios("start, plain HTTP", 1.1, took, "ms", "reading the secret alone"), err
}

// startsTLS measures what the template's SSL_CERT_DIR saves.
func (b *bench) startsTLS() ([]row, error) {
	took, err := b.startsIn(101, b.tls, b.tlsDefault)
	const what, reference = "start, TLS, Amazon Linux 2023's certificates", "without the template's SSL_CERT_DIR"
	return ratios(what, 0.5, took, "ms", reference), err
}

// startsIn measures starts in several places.
func (b *bench) startsIn(n int, places ...place) ([]sample, error) {
	took := make([]sample, len(places))
	err := b.rounds(n, len(places), func(i int) error {
		return b.timeStart(&took[i], b.sides[0], places[i])
	})
	return took, err
}

func (b *bench) timeStart(took *sample, bootstrap string, p place) error {
	began := time.Now()
	f, err := b.deploy(bootstrap, p, 1)
	if err != nil {
		return err
	}
	*took = append(*took, ms(time.Since(began)))
	f.Close()
	return nil
}

// firstRequest compares a new process's first request with its tenth. Anything that
// the start has left to do makes the first one slower.
func (b *bench) firstRequest() ([]row, error) {
	took := make([]sample, 2)
	err := b.rounds(21, 1, func(int) error {
		f, err := b.deploy(b.sides[0], b.away, 1)
		if err != nil {
			return err
		}
		defer f.Close()
		var times [10]float64
		for i := range times {
			if times[i], err = b.send(f); err != nil {
				return err
			}
		}
		took[0], took[1] = append(took[0], times[0]), append(took[1], times[9])
		return nil
	})
	return ratios("first request after a cold start, WeChat 50 ms away", 1.1, took, "ms", "the tenth"), err
}

// warm measures a warm request's time and CPU time, in batches of 100.
func (b *bench) warm() ([]row, error) {
	functions := make([]*lambdatest.Function, len(b.sides))
	for i, bootstrap := range b.sides {
		f, err := b.deploy(bootstrap, b.near, 1)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		if _, err := b.sendMany(f, 100); err != nil { // until it is warm
			return nil, err
		}
		functions[i] = f
	}
	took, cpu := make([]sample, len(b.sides)), make([]sample, len(b.sides))
	err := b.rounds(121, len(b.sides), func(i int) error {
		const requests = 100
		before, err := cpuTime(functions[i].PID())
		if err != nil {
			return err
		}
		times, err := b.sendMany(functions[i], requests)
		if err != nil {
			return err
		}
		after, err := cpuTime(functions[i].PID())
		took[i], cpu[i] = append(took[i], times.middle()), append(cpu[i], ms(after-before)/requests)
		return err
	})
	const reference = "one GET and one log line"
	rows := ratios("warm request", 1.2, took, "ms", reference)
	return append(rows, ratios("a warm request's CPU", 1.2, cpu, "ms", reference)...), err
}

// open runs shared/opendata's benchmark on one processor, as the function has. With
// more, it would also measure how soon another processor wakes up.
func (b *bench) open() ([]row, error) {
	line := regexp.MustCompile(`BenchmarkOpenPhone/(?:ours|reference)\s+\d+\s+(\S+) ns/op\s+\d+ B/op\s+(\d+) allocs/op`)
	took, allocations := make([]sample, 2), make([]sample, 2)
	err := b.rounds(21, 1, func(int) error {
		out, err := exec.Command("go", "test", "-run", "^$", "-bench", "^BenchmarkOpenPhone$",
			"-benchtime", "200ms", "-cpu", "1", "./shared/opendata").CombinedOutput()
		found := line.FindAllSubmatch(out, -1)
		if err != nil || len(found) != len(took) {
			return fmt.Errorf("go test gave no figures: %v: %s", err, out)
		}
		for i := range found {
			var ns, n float64
			if _, err := fmt.Sscan(string(found[i][1])+" "+string(found[i][2]), &ns, &n); err != nil {
				return err
			}
			took[i], allocations[i] = append(took[i], ns/1000), append(allocations[i], n)
		}
		return nil
	})
	return append(ratios("opening a phone payload", 0.9, took, "µs", "base64, crypto/cipher and encoding/json"), row{
		what: "its allocations", figure: allocations[0], limit: 6, unit: "allocs",
		details: quantity(allocations[1].middle(), "allocs") + " there",
	}), err
}

// many offers 500 requests a second to one process that serves 64 at once. A
// request's time counts from when it was due.
func (b *bench) many() ([]row, error) {
	f, err := b.deploy(b.sides[0], b.away, atOnce)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	const requests = 1500
	took := make([]sample, 2)
	err = b.rounds(7, 1, func(int) error {
		times, failures := make(sample, requests), make([]error, requests)
		var all sync.WaitGroup
		began := time.Now()
		for i := range requests {
			due := began.Add(time.Duration(i) * time.Second / 500)
			time.Sleep(time.Until(due))
			all.Go(func() {
				_, failures[i] = b.send(f)
				times[i] = ms(time.Since(due))
			})
		}
		all.Wait()
		took[0], took[1] = append(took[0], times.middle()), append(took[1], ms(roundTrip))
		return errors.Join(failures...)
	})
	return ratios("64 requests at once, WeChat 50 ms away, 500 a second, p50", 1.3, took, "ms", "ideal"), err
}

// sizes measures the function's file sizes and its memory.
func (b *bench) sizes() ([]row, error) {
	binary, err := os.ReadFile(filepath.Clean(b.sides[0]))
	if err != nil {
		return nil, err
	}
	var archive bytes.Buffer
	z := zip.NewWriter(&archive)
	file, err := z.Create("bootstrap")
	if err == nil {
		_, err = file.Write(binary)
	}
	if err := errors.Join(err, z.Close()); err != nil {
		return nil, err
	}
	var memory sample
	err = b.rounds(7, 1, func(int) error {
		f, err := b.deploy(b.sides[0], b.tls, 1)
		if err != nil {
			return err
		}
		defer f.Close()
		if _, err := b.sendMany(f, 1000); err != nil {
			return err
		}
		peak, err := peakMemory(f.PID())
		memory = append(memory, peak/1e6)
		return err
	})
	return []row{
		{what: "binary", figure: sample{float64(len(binary)) / 1e6}, limit: 11, unit: "MB"},
		{what: "zip", figure: sample{float64(archive.Len()) / 1e6}, limit: 4.5, unit: "MB"},
		{what: "peak memory after 1,000 requests over TLS", figure: memory, limit: 20, unit: "MB"},
	}, err
}
