package main

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"errors"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strconv"
	"time"

	"wechat-phone/local/lambdatest"
)

// startsIssuing measures what reading the signing keys costs.
func (b *bench) startsIssuing() ([]row, error) {
	took, err := b.startsIn(301, b.issuing, b.tls)
	return ratios("start with identity tokens, TLS", 1.2, took, "ms", "without them"), err
}

// token measures what a token adds to a request with tokens off: to the function's own
// time, which is in its log line, and to its CPU time.
func (b *bench) token() ([]row, error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, err
	}
	functions := make([]*lambdatest.Function, 2)
	logs := []ownTimes{make(ownTimes, 1), make(ownTimes, 1)}
	for i, place := range []place{b.issuing, b.tls} {
		place.logs = logs[i]
		if functions[i], err = b.deploy(b.sides[0], place, 1); err != nil {
			return nil, err
		}
		defer functions[i].Close()
	}
	took, cpu := make([]sample, 2), make([]sample, 2)
	err = b.rounds(61, 1, func(int) error {
		const requests = 50
		before, err := moreCPUTime(functions)
		var times [3]sample
		for n := 0; n < requests && err == nil; n++ {
			for i, f := range functions {
				if _, err := b.send(f); err != nil {
					return err
				}
				times[i] = append(times[i], <-logs[i])
			}
			// Sign here and not in a loop of its own, which would be faster.
			digest := sha256.Sum256(b.event)
			began := time.Now()
			_, err = rsa.SignPKCS1v15(nil, key, crypto.SHA256, digest[:])
			times[2] = append(times[2], ms(time.Since(began)))
		}
		after, errAfter := moreCPUTime(functions)
		bare := times[2].middle()
		took[0], took[1] = append(took[0], times[0].middle()-times[1].middle()), append(took[1], bare)
		cpu[0], cpu[1] = append(cpu[0], ms(after-before)/requests), append(cpu[1], bare)
		return errors.Join(err, errAfter)
	})
	const reference = "a bare RSA-2048 signature"
	rows := ratios("what a token adds to the function's own time", 1.1, took, "ms", reference)
	return append(rows, ratios("what a token adds to its CPU", 1.25, cpu, "ms", reference)...), err
}

// ownTimes receives the ownMs of each request's log line.
type ownTimes chan float64

var ownMs = regexp.MustCompile(`"ownMs":([0-9.]+)`)

func (o ownTimes) Write(lines []byte) (int, error) {
	for _, found := range ownMs.FindAllSubmatch(lines, -1) {
		took, _ := strconv.ParseFloat(string(found[1]), 64)
		o <- took
	}
	return len(lines), nil
}

// moreCPUTime returns how much more CPU time the first function's process has used than
// the second's.
func moreCPUTime(functions []*lambdatest.Function) (time.Duration, error) {
	first, err := cpuTime(functions[0].PID())
	second, errSecond := cpuTime(functions[1].PID())
	return first - second, errors.Join(err, errSecond)
}

// keySet compares a request for the key set with a request to the smallest function. Each
// round has processes of its own, because two processes of one function may differ by more
// than the two functions do.
func (b *bench) keySet() ([]row, error) {
	event, err := newEvent(httptest.NewRequest(http.MethodGet, "/.well-known/jwks.json", nil), nil)
	if err != nil {
		return nil, err
	}
	hello := b.tls
	hello.env = append(slices.Clone(hello.env), "WECHAT_SECRET_ID=")
	took := make([]sample, 2)
	err = b.rounds(101, 2, func(i int) error {
		f, err := b.deploy(b.sides[i], []place{b.issuing, hello}[i], 1)
		if err != nil {
			return err
		}
		defer f.Close()
		times, err := sendMany(f, event, 200)
		took[i] = append(took[i], times.middle())
		return err
	})
	return ratios("a request for the key set", 1.2, took, "ms", "a hello world's request"), err
}
