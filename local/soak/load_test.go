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
	"wechat-phone/local/wechattest"
)

func TestMain(m *testing.M) { rig.Main(m) }

const (
	warmUp      = 10_000  // requests during which the process may grow
	total       = 200_000 // requests
	concurrency = 16      // requests at once
	apps        = 50      // mini-programs, as many as a secret may hold
)

// TestSoakLoad sends many requests, for all mini-programs in turn. Every third is
// hostile. At the end the process must have about as much memory, descriptors and
// goroutines as after the warm-up. Counting goroutines ends a process, so a second
// process counts those of the warm-up.
func TestSoakLoad(t *testing.T) {
	_, warm := load(t, warmUp)
	before, after := load(t, total)
	t.Logf("after %d requests: %.1f MB, %d descriptors, %d goroutines",
		warmUp, float64(before.memory)/1e6, before.descriptors, warm.goroutines)
	t.Logf("after %d requests: %.1f MB, %d descriptors, %d goroutines",
		total, float64(after.memory)/1e6, after.descriptors, after.goroutines)
	if limit := before.memory*5/4 + 2<<20; after.memory > limit {
		t.Errorf("resident memory: got %d bytes after %d, want %d at most", after.memory, before.memory, limit)
	}
	// Idle connections come and go. Each has two goroutines.
	if limit := before.descriptors + concurrency; after.descriptors > limit {
		t.Errorf("descriptors: got %d after %d, want %d at most", after.descriptors, before.descriptors, limit)
	}
	if limit := warm.goroutines + 2*concurrency; after.goroutines > limit {
		t.Errorf("goroutines: got %d after %d, want %d at most", after.goroutines, warm.goroutines, limit)
	}
}

type figures struct{ memory, descriptors, goroutines int }

// load sends requests to a new process. It measures the process after the warm-up
// and at the end, and counts goroutines only at the end.
func load(t *testing.T, requests int64) (warm, end figures) {
	secrets := map[string]string{}
	for n := range apps {
		secrets[appID(n)] = stage.AppSecret
	}
	r := rig.Raise(t, func(c *stage.Config) {
		c.Concurrency, c.Env = concurrency, []string{"GOTRACEBACK=all", "WECHAT_TIMEOUT=1s"}
		c.Secret = stage.Secrets(secrets)
	})
	for n := range apps {
		r.WeChat.AddApp(appID(n), stage.AppSecret)
	}
	pid := r.Function.PID()
	bad := slices.DeleteFunc(hostile.Requests(r.Tap(userOf(0))), func(request hostile.Request) bool {
		return request.Method == http.MethodHead || len(request.Body) > 1<<20 // has no body to check, or is too slow
	})
	var next atomic.Int64
	sendUntil := func(last int64) {
		var workers sync.WaitGroup
		for range concurrency {
			workers.Go(func() {
				for i := next.Add(1); i <= last; i = next.Add(1) {
					sendRequest(r, int(i), bad)
				}
				next.Add(-1)
			})
		}
		workers.Wait()
	}
	sendUntil(warmUp)
	warm = measure(t, r)
	sendUntil(requests)
	end = measure(t, r)
	if got := r.Function.PID(); got != pid {
		t.Errorf("got process %d at the end, want still %d", got, pid)
	}
	end.goroutines = countGoroutines(t, r)
	return warm, end
}

// measure returns the process's memory and descriptors.
func measure(t *testing.T, r *rig.Rig) (f figures) {
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

// countGoroutines ends the process with SIGQUIT, which makes the Go runtime print
// all goroutines.
func countGoroutines(t *testing.T, r *rig.Rig) int {
	t.Helper()
	r.Logs.Check(t)
	var goroutines dump // not JSON, so kept out of the log
	r.Logs.Divert(&goroutines)
	if err := r.Function.Signal(syscall.SIGQUIT); err != nil {
		t.Fatal(err)
	}
	rig.WaitFor(t, "the process has ended", func() bool { return r.Function.PID() == 0 })
	return goroutines.count()
}

// appID returns the appid of the n-th mini-program. The first is [stage.AppID].
func appID(n int) string { return fmt.Sprintf("wx%016x", n) }

// userOf makes up a user of the n-th mini-program.
func userOf(n int) wechattest.User {
	user := rig.NewUser()
	user.AppID = appID(n)
	return user
}

// sendRequest sends the i-th request. In every third request the caller or WeChat
// misbehaves, alternately.
func sendRequest(r *rig.Rig, i int, bad []hostile.Request) {
	app := i / 3 % apps
	switch {
	case i%3 == 1:
		r.WantPhone("a good request", r.Tap(userOf(app)))
	case i%3 == 2:
		r.WantPhoneByCode("a good request", r.TapBoth(userOf(app)))
	case i%2 == 0:
		request := bad[i/6%len(bad)]
		got := r.Send(request.Method, request.Path, request.ContentType, request.Body)
		r.Want(request.Name, got, request.Want)
	default:
		user := userOf(app)
		answers := hostile.Answers(user, "http://127.0.0.1:1")
		answer := answers[i/6%len(answers)]
		r.Want(answer.Name, r.Post(r.TapScripted(user, answer.Serve)), answer.Want)
	}
}

// dump collects the Go runtime's output after SIGQUIT.
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
