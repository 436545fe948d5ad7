package main

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"wechat-phone/local/lambdatest"
)

// This file has the rows of the table.

// rounds runs the sides by turns, there and back again, so that neither is always
// the first nor always behind the same one, and returns what they gave.
func (b *bench) rounds(n int, sides ...func() (float64, error)) ([]sample, error) {
	if b.short {
		n = 2
	}
	samples := make([]sample, len(sides))
	for i := range n {
		for j := range sides {
			if i%2 == 1 {
				j = len(sides) - 1 - j
			}
			x, err := sides[j]()
			if err != nil {
				return nil, err
			}
			samples[j] = append(samples[j], x)
		}
	}
	return samples, nil
}

// ratio is the row of one.
func ratio(what string, limit float64, ours, reference sample, unit, named string) row {
	_, a, _ := ours.median()
	_, z, _ := reference.median()
	return row{what: what, figure: ours.over(reference), limit: limit,
		details: fmt.Sprintf("%s, %s %s", quantity(a, unit), named, quantity(z, unit))}
}

// timeStart is the time from exec to the first next, in ms.
func (b *bench) timeStart(bootstrap string, wechat, secrets *httptest.Server, env ...string) func() (float64, error) {
	return func() (float64, error) {
		began := time.Now()
		f, err := b.run(bootstrap, wechat, secrets, 1, env...)
		took := time.Since(began)
		if err != nil {
			return 0, err
		}
		f.Close()
		return ms(took), nil
	}
}

func (b *bench) start() ([]row, error) {
	got, err := b.rounds(151,
		b.timeStart(b.phone, b.wechat, b.secrets, b.env...),
		b.timeStart(b.secretOnly, b.wechat, b.secrets, b.env...),
		b.timeStart(b.hello, b.wechat, b.secrets, b.env...))
	if err != nil {
		return nil, err
	}
	r := ratio("start, plain HTTP", 1.1, got[0], got[1], "ms", "LoadDefaultConfig and GetSecretValue alone")
	_, hello, _ := got[2].median()
	r.details += "; hello world " + quantity(hello, "ms")
	return []row{r}, nil
}

func (b *bench) startTLS() ([]row, error) {
	without := append([]string{"SSL_CERT_DIR=" + b.certificates}, b.trust...)
	got, err := b.rounds(101,
		b.timeStart(b.phone, b.wechatTLS, b.secretsTLS, b.envTLS...),
		b.timeStart(b.phone, b.wechatTLS, b.secretsTLS, without...))
	if err != nil {
		return nil, err
	}
	return []row{ratio("start, TLS, Amazon Linux 2023's certificates, template's environment", 0.5, got[0], got[1], "ms", "without it")}, nil
}

func (b *bench) firstRequest() ([]row, error) {
	var tenths sample
	got, err := b.rounds(21, func() (float64, error) {
		f, err := b.run(b.phone, b.away, b.secrets, 1, b.envTLS...)
		if err != nil {
			return 0, err
		}
		defer f.Close()
		var times [10]time.Duration
		for i := range times {
			if times[i], err = send(f, b.event); err != nil {
				return 0, err
			}
		}
		tenths = append(tenths, ms(times[9]))
		return ms(times[0]), nil
	})
	if err != nil {
		return nil, err
	}
	return []row{ratio("first request after a cold start, WeChat 50 ms away over TLS", 1.1, got[0], tenths, "ms", "the tenth")}, nil
}

// microBenchmark runs a Go benchmark that compares sides (see tools/bench/sides), once
// in each round and in a process of its own, and returns its metrics. Its lines
// are printed as they are, for benchstat. One processor, as the function has,
// measures work, and not how soon another processor wakes.
func (b *bench) microBenchmark(folder, name string) (map[string]sample, error) {
	executable := filepath.Join(b.dir, filepath.Base(folder)+".test")
	// #nosec G204 -- the project's own folders
	build := exec.Command("go", "test", "-c", "-trimpath", "-tags", "lambda.norpc", "-o", executable, folder)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		return nil, err
	}
	metrics := map[string]sample{}
	_, err := b.rounds(21, func() (float64, error) {
		var out bytes.Buffer
		// #nosec G204 -- built above
		test := exec.Command(executable, "-test.run", "^$", "-test.bench", "^"+name+"$", "-test.benchtime", "400ms", "-test.cpu", "1")
		test.Dir, test.Stdout, test.Stderr = folder, io.MultiWriter(&out, os.Stdout), os.Stderr
		phone, err := filepath.Abs(b.phone)
		if err != nil {
			return 0, err
		}
		test.Env = append(os.Environ(), "BOOTSTRAP="+phone)
		if err := test.Run(); err != nil {
			return 0, err
		}
		for line := range strings.Lines(out.String()) {
			fields := strings.Fields(line)
			if len(fields) == 0 || !strings.HasPrefix(fields[0], name) {
				continue
			}
			for i := 2; i+1 < len(fields); i += 2 {
				var x float64
				if _, err := fmt.Sscan(fields[i], &x); err != nil {
					return 0, err
				}
				metrics[fields[i+1]] = append(metrics[fields[i+1]], x)
			}
		}
		return 0, nil
	})
	if err == nil && len(metrics["ns/ours"]) == 0 {
		err = errors.New(name + " printed no figures")
	}
	return metrics, err
}

// ratioWithFloor is the row of a benchmark of "ours" against a "reference", with
// what not even their "floor" can do without.
func ratioWithFloor(what string, limit float64, got map[string]sample, named, floor string) row {
	r := ratio(what, limit, got["ns/ours"], got["ns/reference"], "ns", named)
	_, middle, _ := got["ns/floor"].median()
	r.details += "; " + floor + " " + quantity(middle, "ns")
	return r
}

func (b *bench) handler() ([]row, error) {
	got, err := b.microBenchmark("./functions/phone", "BenchmarkHandler")
	if err != nil {
		return nil, err
	}
	r := ratioWithFloor("the handler in process, WeChat at 0 ms", 1.15, got, "a GET of the same answer by net/http", "the round trip alone")
	_, ours, _ := got["allocs/ours"].median()
	_, theirs, _ := got["allocs/reference"].median()
	r.details += fmt.Sprintf("; %.0f allocations, there %.0f", ours, theirs)
	return []row{r}, nil
}

func (b *bench) open() ([]row, error) {
	got, err := b.microBenchmark("./shared/opendata", "BenchmarkOpenPhone")
	if err != nil {
		return nil, err
	}
	_, theirs, _ := got["allocs/reference"].median()
	return []row{
		ratioWithFloor("opening a phone payload", 0.9, got, "base64, crypto/cipher and encoding/json", "AES alone"),
		{what: "its allocations", figure: got["allocs/ours"], limit: 6, unit: "allocations", details: fmt.Sprintf("there %.0f", theirs)},
	}, nil
}

// warm has the rows of a warm request, and, for the reckoning of the costs, the
// same of one with a phone code and a login code, which asks WeChat twice.
func (b *bench) warm() ([]row, error) {
	phone, err := b.keep(b.phone)
	if err != nil {
		return nil, err
	}
	hello, err := b.keep(b.hello)
	if err != nil {
		return nil, err
	}
	sides := []struct {
		f     *lambdatest.Function
		event []byte
		cpu   sample
	}{{f: phone, event: b.event}, {f: hello, event: b.event}, {f: phone, event: b.phoneEvent}}
	var measures []func() (float64, error)
	for i := range sides {
		side := &sides[i]
		if _, _, err := sendMany(side.f, side.event, 100); err != nil { // until it is warm
			return nil, err
		}
		measures = append(measures, func() (float64, error) {
			took, cpu, err := sendMany(side.f, side.event, 100)
			side.cpu = append(side.cpu, cpu)
			return took, err
		})
	}
	got, err := b.rounds(121, measures...)
	if err != nil {
		return nil, err
	}
	const named = "hello world with one GET and one line"
	return []row{
		ratio("a warm request", 1.2, got[0], got[1], "ms", named),
		ratio("its CPU", 1.2, sides[0].cpu, sides[1].cpu, "ms", named),
		ratio("CPU of one with a phone code and a login code", 0, sides[2].cpu, sides[1].cpu, "ms", named),
	}, nil
}

// quotas has a warm request at the CPU of 128 MB; and, to choose the memory by,
// those that take longest at that of several sizes: the first of a process, and
// one that comes when WeChat has closed the kept connection.
func (b *bench) quotas() (rows []row, _ error) {
	const first, anew = "a process's first request, over TLS, ", "one that must connect anew, over TLS, "
	for _, at := range []underQuota{
		{row: row{what: "the same under a CPU quota of 7 % (128 MB), p50", limit: 20}, percent: 7, before: 100, requests: 100, wechat: b.wechat, env: b.env},
		{row: row{what: first + "under one of 7 % (128 MB)"}, percent: 7, requests: 1, wechat: b.wechatTLS, env: b.envTLS},
		{row: row{what: first + "of 14 % (256 MB)"}, percent: 14, requests: 1, wechat: b.wechatTLS, env: b.envTLS},
		{row: row{what: first + "of 29 % (512 MB)"}, percent: 29, requests: 1, wechat: b.wechatTLS, env: b.envTLS},
		{row: row{what: anew + "under one of 7 % (128 MB), p50"}, percent: 7, before: 5, requests: 8, pause: roundTrip, wechat: b.closing, env: b.envTLS},
		{row: row{what: anew + "of 14 % (256 MB), p50"}, percent: 14, before: 5, requests: 8, pause: roundTrip, wechat: b.closing, env: b.envTLS},
		{row: row{what: anew + "of 29 % (512 MB), p50"}, percent: 29, before: 5, requests: 8, pause: roundTrip, wechat: b.closing, env: b.envTLS},
	} {
		r, err := b.quota(at)
		if err != nil {
			return nil, err
		}
		rows = append(rows, r)
	}
	return rows, nil
}

// underQuota is what is measured in a row under a quota.
type underQuota struct {
	row
	percent  time.Duration
	before   int           // requests that a process serves without it, to be warm
	requests int           // that it serves under it
	pause    time.Duration // before each of these
	wechat   *httptest.Server
	env      []string
}

// quota measures a row under a quota, in which each round has a process of its
// own, started without it as Lambda does. The period is 20 ms: the less there is
// in one, the longer a request that is over it waits.
func (b *bench) quota(at underQuota) (row, error) {
	const period = 20 * time.Millisecond
	at.unit = "ms"
	q, err := newQuota(period*at.percent/100, period)
	if err != nil {
		at.missing = "no control group can be made: " + err.Error()
		return at.row, nil
	}
	defer q.remove()
	var slow sample
	got, err := b.rounds(21, func() (float64, error) {
		f, err := b.run(b.phone, at.wechat, b.secrets, 1, at.env...)
		if err != nil {
			return 0, err
		}
		defer f.Close()
		for range at.before {
			if _, err := send(f, b.event); err != nil {
				return 0, err
			}
		}
		if err := q.hold(f.PID()); err != nil {
			return 0, err
		}
		times := make([]float64, at.requests)
		for i := range times {
			time.Sleep(at.pause)
			took, err := send(f, b.event)
			if err != nil {
				return 0, err
			}
			times[i] = ms(took)
		}
		slow = append(slow, percentile(times, 0.95))
		return percentile(times, 0.5), nil
	})
	if err != nil {
		return at.row, err
	}
	at.figure = got[0]
	switch {
	case at.pause > 0:
		at.details = at.pause.String() + " between two"
	case at.requests > 1:
		_, p95, _ := slow.median()
		at.details = "p95 " + quantity(p95, "ms") + "; one after the other, without a pause"
	}
	return at.row, nil
}

// many offers 500 requests a second to a process that serves 64 at once, and then
// as many as it takes.
func (b *bench) many() ([]row, error) {
	const atOnce, offered = 64, 500
	f, err := b.run(b.phone, b.away, b.secrets, atOnce, b.envTLS...)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	span := 3 * time.Second
	if b.short {
		span = 300 * time.Millisecond
	}
	var failed error
	var mu sync.Mutex
	serve := func(due time.Time, times *[]float64) {
		_, err := send(f, b.event)
		mu.Lock()
		defer mu.Unlock()
		if err != nil {
			failed = err
		}
		*times = append(*times, ms(time.Since(due)))
	}
	got, err := b.rounds(7, func() (float64, error) {
		var times []float64
		var all sync.WaitGroup
		began := time.Now()
		for due := began; due.Before(began.Add(span)); due = due.Add(time.Second / offered) {
			time.Sleep(time.Until(due))
			all.Go(func() { serve(due, &times) })
		}
		all.Wait()
		return percentile(times, 0.5) / ms(roundTrip), failed
	}, func() (float64, error) {
		var times []float64
		var all sync.WaitGroup
		began := time.Now()
		for range atOnce {
			all.Go(func() {
				for time.Since(began) < span {
					serve(time.Now(), &times)
				}
			})
		}
		all.Wait()
		return float64(len(times)) / time.Since(began).Seconds(), failed
	})
	if err != nil {
		return nil, err
	}
	_, median, _ := got[0].median()
	return []row{
		{what: "64 requests at once, WeChat 50 ms away, 500 a second offered, p50", figure: got[0], limit: 1.3,
			details: quantity(median*ms(roundTrip), "ms") + ", the ideal 50 ms"},
		{what: "the most that it serves so", figure: got[1], unit: "a second", details: fmt.Sprintf("the ideal %d", atOnce*int(time.Second/roundTrip))},
	}, nil
}

func (b *bench) sizes() ([]row, error) {
	binary, err := os.ReadFile(filepath.Clean(b.phone))
	if err != nil {
		return nil, err
	}
	var archive bytes.Buffer
	z := zip.NewWriter(&archive)
	file, err := z.Create("bootstrap")
	if err != nil {
		return nil, err
	}
	if _, err := file.Write(binary); err != nil {
		return nil, err
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	memory, err := b.rounds(7, func() (float64, error) {
		f, err := b.run(b.phone, b.wechatTLS, b.secretsTLS, 1, b.envTLS...)
		if err != nil {
			return 0, err
		}
		defer f.Close()
		if _, _, err := sendMany(f, b.event, 1000); err != nil {
			return 0, err
		}
		peak, err := peakMemory(f.PID())
		return peak / 1e6, err
	})
	if err != nil {
		return nil, err
	}
	return []row{
		{what: "binary", figure: sample{float64(len(binary)) / 1e6}, limit: 11, unit: "MB"},
		{what: "zip", figure: sample{float64(archive.Len()) / 1e6}, limit: 4.5, unit: "MB"},
		{what: "peak memory after 1,000 requests, over TLS", figure: memory[0], limit: 20, unit: "MB"},
	}, nil
}
