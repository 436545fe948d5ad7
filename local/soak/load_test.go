//go:build soak

package soak

import (
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"wechat-phone/local/hostile"
	"wechat-phone/local/rig"
	"wechat-phone/local/stage"
)

func TestMain(m *testing.M) { rig.Main(m) }

const (
	first = 10_000  // requests, until which the process may grow
	all   = 200_000 // requests
	side  = 16      // requests at once
)

// Every third request is hostile. After all of them the process must be as it was
// after the first ones: resident memory, descriptors, goroutines. Counting
// goroutines ends a process, so a process of its own has those of the first ones.
func TestSoakLoad(t *testing.T) {
	_, early := load(t, first)
	atFirst, atEnd := load(t, all)
	t.Logf("after %d requests: %.1f MB, %d descriptors, %d goroutines",
		first, float64(atFirst.memory)/1e6, atFirst.descriptors, early.goroutines)
	t.Logf("after %d requests: %.1f MB, %d descriptors, %d goroutines",
		all, float64(atEnd.memory)/1e6, atEnd.descriptors, atEnd.goroutines)
	if atEnd.memory > atFirst.memory*5/4+2<<20 {
		t.Errorf("resident memory grew from %d to %d bytes", atFirst.memory, atEnd.memory)
	}
	// Idle connections come and go, each with two goroutines.
	if atEnd.descriptors > atFirst.descriptors+side {
		t.Errorf("descriptors grew from %d to %d", atFirst.descriptors, atEnd.descriptors)
	}
	if atEnd.goroutines > early.goroutines+2*side {
		t.Errorf("goroutines grew from %d to %d", early.goroutines, atEnd.goroutines)
	}
}

type figures struct{ memory, descriptors, goroutines int }

// load sends requests to a process of its own. It looks at the process after the
// first ones and at the end, and counts goroutines only at the end.
func load(t *testing.T, requests int64) (atFirst, atEnd figures) {
	r := rig.Raise(t, func(c *stage.Config) {
		c.Concurrency, c.Env = side, []string{"GOTRACEBACK=all", "WECHAT_TIMEOUT=1s"}
	})
	pid := r.Function.PID()
	bad := slices.DeleteFunc(hostile.Requests(r.NewTap()), func(request hostile.Request) bool {
		return request.Method == http.MethodHead || len(request.Body) > 1<<20 // no body to look at; too slow
	})
	var next atomic.Int64
	sendUntil := func(last int64) {
		var workers sync.WaitGroup
		for range side {
			workers.Go(func() {
				for i := next.Add(1); i <= last; i = next.Add(1) {
					sendRequest(r, int(i), bad)
				}
				next.Add(-1)
			})
		}
		workers.Wait()
	}
	sendUntil(first)
	atFirst = look(t, r)
	sendUntil(requests)
	atEnd = look(t, r)
	if r.Function.PID() != pid {
		t.Error("the process ended")
	}
	atEnd.goroutines = countGoroutines(t, r)
	return atFirst, atEnd
}

// look returns the process's memory and descriptors.
func look(t *testing.T, r *rig.Rig) (f figures) {
	t.Helper()
	time.Sleep(time.Second)
	var ok bool
	if f.memory, ok = r.Memory("VmRSS"); !ok {
		t.Fatal("the soak needs /proc")
	}
	open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", r.Function.PID()))
	if err != nil {
		t.Fatal(err)
	}
	f.descriptors = len(open)
	return f
}

// countGoroutines ends the process with SIGQUIT, at which the Go runtime writes
// its goroutines.
func countGoroutines(t *testing.T, r *rig.Rig) int {
	t.Helper()
	r.Logs.Check(t) // before what follows, which is not JSON
	var written dump
	r.Logs.Divert(&written)
	if err := r.Function.Signal(syscall.SIGQUIT); err != nil {
		t.Fatal(err)
	}
	rig.WaitFor(t, "the process has ended", func() bool { return r.Function.PID() == 0 })
	return written.count()
}

// sendRequest sends the i-th request. Every third is hostile, by turns from the
// caller and from WeChat.
func sendRequest(r *rig.Rig, i int, bad []hostile.Request) {
	switch {
	case i%3 == 1:
		r.WantPhone("a good request", r.NewTap())
	case i%3 == 2:
		r.WantPhoneByCode("a good request", r.TapBoth(rig.NewUser()))
	case i%2 == 0:
		request := bad[i/6%len(bad)]
		got := r.Send(request.Method, request.Path, request.ContentType, request.Body)
		r.Want(request.Name, got, request.Want)
	default:
		user := rig.NewUser()
		answers := hostile.Answers(user, "http://127.0.0.1:1")
		answer := answers[i/6%len(answers)]
		r.Want(answer.Name, r.Post(r.TapScripted(user, answer.Serve)), answer.Want)
	}
}

// dump collects what the Go runtime writes at SIGQUIT.
type dump struct {
	mu   sync.Mutex
	text strings.Builder
}

func (d *dump) Write(p []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.text.Write(p)
}

func (d *dump) count() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return strings.Count(d.text.String(), "\ngoroutine ")
}
