package main

import (
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"wechat-phone/local/hostile"
	"wechat-phone/local/rig"
	"wechat-phone/local/stage"
	"wechat-phone/local/wechattest"
)

// The parts of TestNothingBreaksItAndNothingLeaksFromIt that are about access
// tokens and the calls that need one.

// A failure is remembered for a second, and silence has two before: so many
// functions go through the catalogue side by side. That they are well again is
// seen when all are through, since endless answers to one slow the others down.
func throughFailures(t *testing.T, timeout time.Duration, answers []hostile.Answer, do func(r *rig.Rig, answer hostile.Answer, tap wechattest.PhoneTap)) {
	rigs := make([]*rig.Rig, 8)
	var all sync.WaitGroup
	for n := range rigs {
		r := rig.Raise(t, rig.Env("WECHAT_TIMEOUT="+timeout.String()))
		rigs[n] = r
		all.Go(func() {
			for i := n; i < len(answers); i += len(rigs) {
				r.WeChat.Script(wechattest.TokenPath, answers[i].Serve)
				tap := r.TapPhone(rig.NewUser())
				if i%2 == 0 {
					tap.Code = r.Login(rig.NewUser())
				}
				do(r, answers[i], tap)
				if seen := r.WeChat.Seen(tap.PhoneCode) + r.WeChat.Seen(tap.Code); seen != 0 {
					t.Errorf("%s: WeChat saw codes %d times", answers[i].Name, seen)
				}
				if answers[i].Slow {
					time.Sleep(2 * time.Second)
				}
				time.Sleep(1050 * time.Millisecond)
			}
		})
	}
	all.Wait()
	for _, r := range rigs {
		r.WeChat.Script(wechattest.TokenPath, nil)
		r.WantPhoneByCode("after all", r.TapBoth(rig.NewUser()))
	}
}

func testTokenRefusals(t *testing.T) {
	t.Parallel()
	throughFailures(t, 4*time.Second, hostile.TokenRefusals(), func(r *rig.Rig, answer hostile.Answer, tap wechattest.PhoneTap) {
		got := r.PostPhone(tap)
		failed := time.Now()
		r.Want(answer.Name, got, answer.Want)
		wantRefused(t, r, answer, got, "stable_token")
		calls := r.WeChat.Seen(wechattest.TokenPath)
		r.Want(answer.Name+" again", r.PostPhone(tap), answer.Want)
		if more := r.WeChat.Seen(wechattest.TokenPath) - calls; more != 0 && time.Since(failed) < 900*time.Millisecond {
			t.Errorf("%s: %d more fetches within a second", answer.Name, more)
		}
	})
}

func testTokenAnswers(t *testing.T) {
	t.Parallel()
	throughFailures(t, shortTime, hostile.TokenAnswers(noServer), func(r *rig.Rig, answer hostile.Answer, tap wechattest.PhoneTap) {
		calls := r.WeChat.Seen(wechattest.TokenPath)
		wantInTime(t, r, answer, func() rig.Answer { return r.PostPhone(tap) })
		if calls = r.WeChat.Seen(wechattest.TokenPath) - calls; calls != 1 {
			t.Errorf("%s: %d fetches of the token", answer.Name, calls)
		}
	})
}

// wantRefused checks what is told of a refusal, and what is logged.
func wantRefused(t *testing.T, r *rig.Rig, answer hostile.Answer, got rig.Answer, api string) {
	t.Helper()
	if strings.Contains(got.Body, "192.0.2.1") || strings.Contains(got.Body, "rid") {
		t.Errorf("%s: the answer repeats WeChat's text", answer.Name)
	}
	line := r.Logs.Request(t, got)
	if line.ErrCode != answer.ErrCode || len(line.RID) != 26 || line.Outcome != got.Error || line.Status != got.Status || !strings.Contains(line.Reason, api) {
		t.Errorf("%s: logged as %+v", answer.Name, line)
	}
}

func testPhoneRefusals(t *testing.T) {
	t.Parallel()
	r := rig.Raise(t, nil)
	for _, answer := range hostile.PhoneRefusals() {
		alone, both := r.TapPhone(rig.NewUser()), r.TapBoth(rig.NewUser())
		r.WeChat.Script(alone.PhoneCode, answer.Serve)
		r.WeChat.Script(both.PhoneCode, answer.Serve)
		got := r.PostPhone(alone)
		r.Want(answer.Name, got, answer.Want)
		wantRefused(t, r, answer, got, "getuserphonenumber")
		spent := answer.Want
		if spent.Action == "retry" || spent.Action == "wait" {
			spent.Action = "tap"
		}
		r.Want(answer.Name+", the login code spent", r.PostPhone(both), spent)
		r.WantPhoneByCode("after "+answer.Name, r.TapBoth(rig.NewUser()))
	}
}

func testCheckRefusals(t *testing.T) {
	t.Parallel()
	r := rig.Raise(t, rig.Env(verifying))
	for _, answer := range hostile.CheckRefusals() {
		tap := r.NewTap()
		r.WeChat.Script(wechattest.Hash(tap.EncryptedData), answer.Serve)
		got := r.Post(tap)
		r.Want(answer.Name, got, answer.Want)
		if got.Error != "undecryptable" {
			wantRefused(t, r, answer, got, "checkencryptedmsg")
		}
		r.WantPhone("after "+answer.Name, r.NewTap())
	}
}

const shortTime = 800 * time.Millisecond

// wantInTime is want for an answer of the catalogue's.
func wantInTime(t *testing.T, r *rig.Rig, answer hostile.Answer, post func() rig.Answer) {
	t.Helper()
	began := time.Now()
	r.Want(answer.Name, post(), answer.Want)
	if took := time.Since(began); took > shortTime+time.Second || answer.Slow && took < shortTime {
		t.Errorf("%s: answered after %v", answer.Name, took)
	}
}

// noServer is a URL of nobody's.
const noServer = "http://127.0.0.1:1"

func testPhoneAnswers(t *testing.T) {
	t.Parallel()
	r := rig.Raise(t, func(c *stage.Config) {
		c.Env, c.Concurrency = []string{"WECHAT_TIMEOUT=" + shortTime.String()}, 4
	})
	sideBySide(4, len(hostile.PhoneAnswers(rig.NewUser(), noServer)), func(i int) {
		user := rig.NewUser()
		answer := hostile.PhoneAnswers(user, noServer)[i]
		tap := r.TapPhone(user)
		if i%2 == 0 {
			tap.Code = r.Login(user)
		}
		r.WeChat.Script(tap.PhoneCode, answer.Serve)
		wantInTime(t, r, answer, func() rig.Answer { return r.PostPhone(tap) })
		if seen := r.WeChat.Seen(tap.PhoneCode); seen != 1 {
			t.Errorf("%s: WeChat saw the phone code %d times", answer.Name, seen)
		}
		r.WantPhoneByCode("after "+answer.Name, r.TapBoth(rig.NewUser()))
	})
}

func testCheckAnswers(t *testing.T) {
	t.Parallel()
	r := rig.Raise(t, func(c *stage.Config) {
		c.Env, c.Concurrency = []string{verifying, "WECHAT_TIMEOUT=" + shortTime.String()}, 4
	})
	sideBySide(4, len(hostile.CheckAnswers(noServer)), func(i int) {
		answer := hostile.CheckAnswers(noServer)[i]
		tap := r.NewTap()
		r.WeChat.Script(wechattest.Hash(tap.EncryptedData), answer.Serve)
		wantInTime(t, r, answer, func() rig.Answer { return r.Post(tap) })
		if seen := r.WeChat.Seen(wechattest.Hash(tap.EncryptedData)); seen != 1 {
			t.Errorf("%s: WeChat was asked %d times", answer.Name, seen)
		}
		r.WantPhone("after "+answer.Name, r.NewTap())
	})
}

// sideBySide does what do does for each of many, some at once.
func sideBySide(some, many int, do func(i int)) {
	var all sync.WaitGroup
	side := make(chan bool, some)
	for i := range many {
		side <- true
		all.Go(func() {
			defer func() { <-side }()
			do(i)
		})
	}
	all.Wait()
}

// Lambda freezes the process while the token is on its way, and thaws it with
// the next event when that fetch is long past its time: its end says nothing of
// now.
func testFreezeWithinAFetch(t *testing.T) {
	t.Parallel()
	r := rig.Raise(t, rig.Env("WECHAT_TIMEOUT=1s"))
	r.WeChat.Script(wechattest.TokenPath, hostile.Silence)
	r.WantFailure("silence", r.PostPhone(r.TapPhone(rig.NewUser())), "unavailable", 503, "retry")
	r.Freeze(func() {
		r.WeChat.Script(wechattest.TokenPath, nil)
		time.Sleep(3 * time.Second) // two until it has failed, and one for which that is remembered
	}, true)
	if calls := r.WeChat.Seen(wechattest.TokenPath); calls != 2 {
		t.Errorf("%d fetches of the token", calls)
	}
}

// Two processes and 128 requests at once go through several lives of the token,
// and through its violent end: no request fails, and each process fetches each
// token once at most.
func testTokenExpiry(t *testing.T) {
	t.Parallel()
	server := wechattest.New(stage.AppID, stage.AppSecret, time.Now)
	server.SetTokenLife(122*time.Second, 121*time.Second) // of which two minutes are not used
	const processes, many = 2, 64
	var all sync.WaitGroup
	var done atomic.Int32
	var fetches [processes]atomic.Int32
	stop := make(chan bool)
	for p := range processes {
		w := rig.NewWeChat(t, "http")
		w.Serve(http.HandlerFunc(func(out http.ResponseWriter, q *http.Request) {
			if q.URL.Path == wechattest.TokenPath {
				fetches[p].Add(1)
				time.Sleep(100 * time.Millisecond) // for many to wait
			}
			server.ServeHTTP(out, q)
		}))
		r := rig.Raise(t, func(c *stage.Config) {
			c.WeChatURL, c.Concurrency, c.Env = w.URL, many, []string{"WECHAT_TIMEOUT=9s", []string{verifying, ""}[p]}
		})
		r.WeChat = server
		for i := range many {
			all.Go(func() {
				for {
					select {
					case <-stop:
						return
					case <-time.After(200 * time.Millisecond):
					}
					switch {
					case i%2 == 0:
						r.WantPhoneByCode("a request through the token's end", r.TapBoth(rig.NewUser()))
					default:
						r.WantPhone("a request through the token's end", r.NewTap())
					}
					done.Add(1)
				}
			})
		}
	}
	rig.WaitFor(t, "the token has come to its end three times", func() bool { return server.Tokens() > 3 })
	server.EndToken()
	rig.WaitFor(t, "there is another", func() bool { return server.Tokens() > 5 })
	close(stop)
	all.Wait()
	for p := range fetches {
		if calls, tokens := int(fetches[p].Load()), server.Tokens(); calls > tokens {
			t.Errorf("%d fetches of %d tokens by one process", calls, tokens)
		}
	}
	t.Logf("%d requests, %d tokens, %d fetches", done.Load(), server.Tokens(), server.Seen(wechattest.TokenPath))
}

// All of 64 calls are under way when WeChat ends their token.
func testManyRejectedAtOnce(t *testing.T) {
	t.Parallel()
	const many = 64
	r := rig.Raise(t, func(c *stage.Config) { c.Concurrency, c.Env = many, []string{"WECHAT_TIMEOUT=9s", verifying} })
	var all sync.WaitGroup
	arrived, release := make(chan bool, many), make(chan bool)
	for i := range many {
		user := rig.NewUser()
		phone, sealed := r.TapPhone(user), r.Tap(user)
		about, post := phone.PhoneCode, func() rig.Answer { return r.PostPhone(phone) }
		if i%2 == 0 {
			about, post = wechattest.Hash(sealed.EncryptedData), func() rig.Answer { return r.Post(sealed) }
		}
		r.WeChat.Script(about, func(w http.ResponseWriter, q *http.Request) {
			r.WeChat.Script(about, nil)
			arrived <- true
			<-release
			wechattest.Refuse(42001, "access_token expired")(w, q)
		})
		all.Go(func() { r.Want("one of 64", post(), hostile.Want{}) })
	}
	for range many {
		<-arrived
	}
	r.WeChat.EndToken()
	close(release)
	all.Wait()
	if calls := r.WeChat.Seen(wechattest.TokenPath); calls != 2 {
		t.Errorf("%d fetches of the token, want one at start and one more", calls)
	}
}
