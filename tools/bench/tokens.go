package main

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"time"

	"wechat-phone/local/lambdatest"
)

// startsIssuing measures what reading the signing keys costs.
func (b *bench) startsIssuing() ([]row, error) {
	took, err := b.startsIn(301, b.issuing, b.tls)
	return ratios("start with identity tokens, TLS", 1.2, took, "ms", "without them"), err
}

// token measures what a token adds to a request: its time and CPU time, less those of
// the same request with tokens off.
func (b *bench) token() ([]row, error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, err
	}
	functions := make([]*lambdatest.Function, 2)
	for i, place := range []place{b.issuing, b.tls} {
		if functions[i], err = b.deploy(b.sides[0], place, 1); err != nil {
			return nil, err
		}
		defer functions[i].Close()
		if _, err := b.sendMany(functions[i], 100); err != nil { // until it is warm
			return nil, err
		}
	}
	took, cpu := make([]sample, 2), make([]sample, 2)
	err = b.rounds(61, 1, func(int) error {
		more, moreCPU, bare, err := b.addToken(functions[0], functions[1], key)
		took[0], took[1] = append(took[0], more), append(took[1], bare)
		cpu[0], cpu[1] = append(cpu[0], moreCPU), append(cpu[1], bare)
		return err
	})
	const reference = "a bare RSA-2048 signature"
	rows := ratios("what a token adds to a request", 1.1, took, "ms", reference)
	return append(rows, ratios("what a token adds to its CPU", 1.25, cpu, "ms", reference)...), err
}

// addToken returns how many ms a token adds, and how many a bare signature takes. All
// take turns request by request: a signature takes longer after other work than in a
// loop.
func (b *bench) addToken(on, off *lambdatest.Function, key *rsa.PrivateKey) (more, moreCPU, bare float64, _ error) {
	const requests = 50
	before, err := moreCPUTime(on, off)
	var times [3]sample
	for range requests {
		withToken, errOn := b.send(on)
		without, errOff := b.send(off)
		digest := sha256.Sum256(b.event)
		began := time.Now()
		_, errSign := rsa.SignPKCS1v15(nil, key, crypto.SHA256, digest[:])
		for i, took := range []float64{withToken, without, ms(time.Since(began))} {
			times[i] = append(times[i], took)
		}
		if err = errors.Join(err, errOn, errOff, errSign); err != nil {
			return 0, 0, 0, err
		}
	}
	after, err := moreCPUTime(on, off)
	return times[0].middle() - times[1].middle(), ms(after-before) / requests, times[2].middle(), err
}

// moreCPUTime returns how much more CPU time one function's process has used than the
// other's.
func moreCPUTime(f, other *lambdatest.Function) (time.Duration, error) {
	used, err := cpuTime(f.PID())
	less, errOther := cpuTime(other.PID())
	return used - less, errors.Join(err, errOther)
}

// keySet compares a request for the key set with a request to the smallest function.
func (b *bench) keySet() ([]row, error) {
	event, err := newEvent(httptest.NewRequest(http.MethodGet, "/.well-known/jwks.json", nil), nil)
	if err != nil {
		return nil, err
	}
	hello := b.tls
	hello.env = append(slices.Clone(hello.env), "WECHAT_SECRET_ID=")
	functions := make([]*lambdatest.Function, 2)
	for i, place := range []place{b.issuing, hello} {
		if functions[i], err = b.deploy(b.sides[i], place, 1); err != nil {
			return nil, err
		}
		defer functions[i].Close()
	}
	took := make([]sample, 2)
	err = b.rounds(121, 2, func(i int) error {
		times, err := sendMany(functions[i], event, 100)
		took[i] = append(took[i], times.middle())
		return err
	})
	return ratios("a request for the key set", 1.2, took, "ms", "a hello world's request"), err
}
