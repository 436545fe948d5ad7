package main

import (
	"encoding/base64"
	"fmt"
	"net"
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
	"wechat-phone/local/stage"
	"wechat-phone/local/wechattest"
)

// What takes minutes, or measures: make soak. They are benchmarks so that go
// test leaves them alone. They need /proc, and so Linux.

// The b.N requests of which every third is hostile leave the process as it was
// after the first 10,000: resident memory, descriptors, goroutines. These are
// counted at the end of a process alone, so those of 10,000 are another one's.
func BenchmarkSoakLoad(b *testing.B) {
	const first = 10_000
	if b.N < 2*first {
		return // go test's trial run
	}
	_, early := soak(b, first, first)
	atFirst, atEnd := soak(b, first, b.N)
	b.ReportMetric(float64(atFirst.memory)/1e6, "MB@10k")
	b.ReportMetric(float64(atEnd.memory)/1e6, "MB@end")
	b.ReportMetric(float64(atFirst.descriptors), "fd@10k")
	b.ReportMetric(float64(atEnd.descriptors), "fd@end")
	b.ReportMetric(float64(early.goroutines), "goroutines@10k")
	b.ReportMetric(float64(atEnd.goroutines), "goroutines@end")
	if atEnd.memory > atFirst.memory*5/4+2<<20 {
		b.Errorf("resident memory grew from %d to %d bytes", atFirst.memory, atEnd.memory)
	}
	if atEnd.descriptors > atFirst.descriptors+side {
		b.Errorf("descriptors grew from %d to %d", atFirst.descriptors, atEnd.descriptors)
	}
	if atEnd.goroutines > early.goroutines+2*side {
		b.Errorf("goroutines grew from %d to %d", early.goroutines, atEnd.goroutines)
	}
}

// side is how many requests are under way at once. What is idle of their
// connections comes and goes, with two goroutines each.
const side = 16

type figures struct{ memory, descriptors, goroutines int }

// soak sends the requests to a process of its own and looks at it after the
// first ones and at the end. Only at the end does it count goroutines, since
// the process does not survive that.
func soak(b *testing.B, first, all int) (atFirst, atEnd figures) {
	r := raise(b, func(c *stage.Config) {
		c.Concurrency, c.Env = side, []string{"GOTRACEBACK=all", "WECHAT_TIMEOUT=1s"}
	})
	pid := r.Function.PID()
	look := func() (f figures) {
		time.Sleep(time.Second)
		var ok bool
		if f.memory, ok = memory(pid, "VmRSS"); !ok {
			b.Fatal("the soak needs /proc")
		}
		open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
		if err != nil {
			b.Fatal(err)
		}
		f.descriptors = len(open)
		return f
	}
	bad := slices.DeleteFunc(hostile.Requests(r.newTap()), func(request hostile.Request) bool {
		return request.Method == http.MethodHead || len(request.Body) > 1<<20 // no body to look at; too slow
	})
	var next atomic.Int64
	load := func(until int) {
		var workers sync.WaitGroup
		for range side {
			workers.Go(func() {
				for i := int(next.Add(1)); i <= until; i = int(next.Add(1)) {
					r.soakRequest(i, bad)
				}
				next.Add(-1)
			})
		}
		workers.Wait()
	}
	load(first)
	atFirst = look()
	load(all)
	atEnd = look()
	if r.Function.PID() != pid {
		b.Error("the process did not live through it")
	}
	r.logs.check(b) // before what follows, which is no JSON

	dump := &goroutines{}
	r.logs.divert(dump)
	if err := r.Function.Signal(syscall.SIGQUIT); err != nil {
		b.Fatal(err)
	}
	waitFor(b, "the process has ended", func() bool { return r.Function.PID() == 0 })
	atEnd.goroutines = dump.count()
	return atFirst, atEnd
}

// soakRequest is the i-th request: every third is hostile, by turns on the
// caller's side and on WeChat's.
func (r *rig) soakRequest(i int, bad []hostile.Request) {
	switch {
	case i%3 == 1:
		r.wantPhone("a good request", r.newTap())
	case i%3 == 2:
		r.wantPhoneByCode("a good request", r.tapBoth(newUser()))
	case i%2 == 0:
		request := bad[i/6%len(bad)]
		r.want(request.Name, r.send(request.Method, request.Path, request.ContentType, request.Body), request.Want)
	default:
		user := newUser()
		answers := hostile.Answers(user, "http://127.0.0.1:1")
		answer := answers[i/6%len(answers)]
		r.want(answer.Name, r.post(r.scripted(user, answer.Serve)), answer.Want)
	}
}

// goroutines counts them in what the Go runtime writes at SIGQUIT.
type goroutines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (g *goroutines) Write(p []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.text.Write(p)
}

func (g *goroutines) count() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return strings.Count(g.text.String(), "\ngoroutine ")
}

// A process that is frozen for 90 s, while WeChat ends its connections or the
// path forgets them without a word, answers the next request at once.
func BenchmarkSoakFreeze(b *testing.B) {
	for b.Loop() {
		var all sync.WaitGroup
		for i := range 8 {
			scheme, loss, procs := []string{"http", "https"}[i&1], []string{"FIN", "silence"}[i>>1&1], []string{"1", "2"}[i>>2]
			w := newWeChat(b, scheme)
			way := newPath(b, w.Listener.Addr().String())
			r := raise(b, func(c *stage.Config) {
				c.WeChatURL, c.Env = scheme+"://"+way.Addr().String(), append(w.env, "GOMAXPROCS="+procs)
			})
			w.serve(r.WeChat)
			all.Go(func() {
				r.wantPhone("before", r.newTap())
				r.freeze(func() {
					if loss == "FIN" {
						waitFor(b, "WeChat has ended a connection", func() bool { return w.endIdle(false) > 0 })
					} else {
						way.lose()
					}
					time.Sleep(90 * time.Second)
				}, i>>1&1 == 0)
			})
		}
		all.Wait()
	}
}

// lossyPath is a way to a server that can forget its connections: nothing comes
// through any more, and neither end hears of it.
type lossyPath struct {
	net.Listener
	to   string
	lost atomic.Int64 // connections up to this one are
	made atomic.Int64
}

func newPath(t testing.TB, to string) *lossyPath {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &lossyPath{Listener: l, to: to}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", to)
			if err != nil {
				_ = near.Close()
				continue
			}
			n := p.made.Add(1)
			go p.carry(near, far, n)
			go p.carry(far, near, n)
		}
	}()
	return p
}

func (p *lossyPath) carry(from, to net.Conn, n int64) {
	buffer := make([]byte, 4096)
	for {
		size, err := from.Read(buffer)
		if p.lost.Load() >= n {
			if err != nil {
				return
			}
			continue
		}
		if size > 0 {
			_, _ = to.Write(buffer[:size])
		}
		if err != nil {
			_ = to.Close()
			return
		}
	}
}

func (p *lossyPath) lose() { p.lost.Store(p.made.Load()) }

// Whatever Secrets Manager did to a re-read, the function heals 30 s later; and
// a secret that stays wrong is read again once in 30 s, however many requests
// are rejected.
func BenchmarkSoakRefresh(b *testing.B) {
	const rotated = "canary of a rotated secret"
	for b.Loop() {
		var all sync.WaitGroup
		for _, reading := range hostile.Readings() {
			r := raise(b, nil)
			all.Go(func() {
				r.WeChat.SetSecret(rotated)
				r.set(reading)
				r.want(reading.Name, r.post(r.newTap()), reading.Want)
				r.Secrets.Put(stage.SecretName, stage.Secret(stage.AppID, rotated))
				r.Secrets.Fail(nil)
				time.Sleep(30 * time.Second)
				r.wantPhone("30 s after "+reading.Name, r.newTap())
			})
		}
		r := raise(b, nil)
		r.WeChat.SetSecret(rotated)
		all.Go(func() {
			for range 650 {
				r.wantFailure("a wrong secret", r.post(r.newTap()), "misconfigured", 500, "none")
				time.Sleep(100 * time.Millisecond)
			}
		})
		all.Wait()
		reread := r.Secrets.Calls() - 1
		b.ReportMetric(float64(reread), "readings/65s")
		if reread != 3 {
			b.Errorf("%d readings in 65 s of rejections, want 3", reread)
		}
	}
}

// The step of a padding oracle, as an attacker takes it: the byte that decides
// over the padding is changed so that the padding is good, or bad, and nothing
// else differs. How well the time to the answer tells the two apart is put
// beside how well it tells requests of one kind apart: as the difference of the
// medians, and as the probability that the one is slower (0.5 is a coin's).
func BenchmarkOracle(b *testing.B) {
	r := raise(b, nil)
	user := newUser()
	text := fmt.Appendf(nil, `{"phoneNumber":"13599991111","purePhoneNumber":"13599991111","countryCode":"86","watermark":{"timestamp":%d,"appid":%q}}`,
		time.Now().Unix(), stage.AppID)
	padding := byte(16 - len(text)%16)
	tap := wechattest.Seal(user.SessionKey, text)
	pad := func(last byte) wechattest.Tap {
		data, err := base64.StdEncoding.DecodeString(tap.EncryptedData)
		if err != nil {
			b.Fatal(err)
		}
		data[len(data)-17] ^= padding ^ last
		return wechattest.Tap{EncryptedData: base64.StdEncoding.EncodeToString(data), IV: tap.IV}
	}
	kinds := []struct {
		tap    wechattest.Tap
		reason string
		took   []time.Duration
	}{{tap: pad(17), reason: "padding"}, {tap: pad(1), reason: "json"}, {tap: pad(17), reason: "padding"}}
	for i := range kinds {
		if got := r.post(r.grant(user, kinds[i].tap)); r.logs.request(b, got).Reason != kinds[i].reason {
			b.Fatalf("kind %d does not fail by %s", i, kinds[i].reason)
		}
	}
	for i := 0; b.Loop(); i++ {
		for j := range kinds { // by turns in another order
			kind := &kinds[(i+j)%len(kinds)]
			tap := r.grant(user, kind.tap)
			began := time.Now()
			got := r.post(tap)
			kind.took = append(kind.took, time.Since(began))
			if got.Error != "undecryptable" {
				b.Fatal(got.body)
			}
		}
	}
	for i := range kinds {
		slices.Sort(kinds[i].took)
	}
	median := func(i int) float64 { return float64(kinds[i].took[len(kinds[i].took)/2]) }
	b.ReportMetric(median(0)/1e3, "µs/median")
	b.ReportMetric((median(1)-median(0))/1e3, "µs/json-padding")
	b.ReportMetric((median(2)-median(0))/1e3, "µs/padding-padding")
	b.ReportMetric(slower(kinds[1].took, kinds[0].took), "p/json-slower")
	b.ReportMetric(slower(kinds[2].took, kinds[0].took), "p/padding-slower")
}

// slower is the probability that one of a took longer than one of b. Both are
// sorted.
func slower(a, b []time.Duration) float64 {
	less, equal, wins := 0, 0, 0.0
	for _, t := range a {
		for less < len(b) && b[less] < t {
			less++
		}
		for equal < len(b) && b[equal] <= t {
			equal++
		}
		wins += float64(less+equal) / 2
	}
	return wins / float64(len(a)) / float64(len(b))
}
