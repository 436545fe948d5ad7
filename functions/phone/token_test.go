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

// These are the parts of TestNothingBreaksItAndNothingLeaksFromIt that are about
// access tokens and the calls that need one.

// forEachTokenFailure calls do for each answer of stable_token. A function remembers
// a failure for a second, and silence takes two more, so eight functions share the
// answers. Their recovery is checked only at the end: one function's endless answers
// slow the others down.
func forEachTokenFailure(
	t *testing.T, timeout time.Duration, answers []hostile.Answer,
	do func(r *rig.Rig, answer hostile.Answer, tap wechattest.PhoneTap),
) {
	t.Helper()
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
				wantSeen(t, r, answers[i].Name+", the phone code", tap.PhoneCode, 0)
				wantSeen(t, r, answers[i].Name+", the login code", tap.Code, 0)
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
		r.WantPhoneByCode("after all failures", r.TapBoth(rig.NewUser()))
	}
}

func testTokenRefusals(t *testing.T) {
	t.Parallel()
	refuse := func(r *rig.Rig, answer hostile.Answer, tap wechattest.PhoneTap) {
		got := r.PostPhone(tap)
		failed := time.Now()
		r.Want(answer.Name, got, answer.Want)
		wantRefused(t, r, answer, got, "stable_token")
		fetches := r.WeChat.Seen(wechattest.TokenPath)
		r.Want(answer.Name+" again", r.PostPhone(tap), answer.Want)
		more := r.WeChat.Seen(wechattest.TokenPath) - fetches
		if more != 0 && time.Since(failed) < 900*time.Millisecond {
			t.Errorf("%s: got %d more fetches within a second, want none", answer.Name, more)
		}
	}
	forEachTokenFailure(t, 4*time.Second, hostile.TokenRefusals(), refuse)
}

func testTokenAnswers(t *testing.T) {
	t.Parallel()
	answer := func(r *rig.Rig, answer hostile.Answer, tap wechattest.PhoneTap) {
		before := r.WeChat.Seen(wechattest.TokenPath)
		wantInTime(t, r, answer, func() rig.Answer { return r.PostPhone(tap) })
		wantFetches(t, r, answer.Name, before+1)
	}
	forEachTokenFailure(t, shortTime, hostile.TokenAnswers(noServer), answer)
}

// wantRefused checks that the answer repeats no part of WeChat's refusal, and that
// the log line has the refusal's errcode and rid.
func wantRefused(t *testing.T, r *rig.Rig, answer hostile.Answer, got rig.Answer, api string) {
	t.Helper()
	if strings.Contains(got.Body, "192.0.2.1") || strings.Contains(got.Body, "rid") {
		t.Errorf("%s: got %s, want nothing of WeChat's text", answer.Name, got.Body)
	}
	line := r.Logs.Request(t, got)
	if line.ErrCode != answer.ErrCode || len(line.RID) != 26 || !strings.Contains(line.Reason, api) ||
		line.Outcome != got.Error || line.Status != got.Status {
		t.Errorf("%s: got the log line %+v, want %d of %s with a rid, %s and %d",
			answer.Name, line, answer.ErrCode, api, got.Error, got.Status)
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
		r.Want(answer.Name+", after a login", r.PostPhone(both), spent)
		r.WantPhoneByCode("after "+answer.Name, r.TapBoth(rig.NewUser()))
	}
}

func testCheckRefusals(t *testing.T) {
	t.Parallel()
	r := rig.Raise(t, rig.Env(verifyOn))
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

// wantInTime checks the function's answer to a hostile answer, and how long it took.
func wantInTime(t *testing.T, r *rig.Rig, answer hostile.Answer, post func() rig.Answer) {
	t.Helper()
	began := time.Now()
	r.Want(answer.Name, post(), answer.Want)
	if took := time.Since(began); took > shortTime+time.Second || answer.Slow && took < shortTime {
		t.Errorf("%s: got an answer after %v, want it within a second of WECHAT_TIMEOUT (%v), slow: %v",
			answer.Name, took, shortTime, answer.Slow)
	}
}

// noServer is a URL at which nothing listens.
const noServer = "http://127.0.0.1:1"

func testPhoneAnswers(t *testing.T) {
	t.Parallel()
	r := rig.Raise(t, func(c *stage.Config) {
		c.Env, c.Concurrency = []string{"WECHAT_TIMEOUT=" + shortTime.String()}, 4
	})
	inParallel(4, len(hostile.PhoneAnswers(rig.NewUser(), noServer)), func(i int) {
		user := rig.NewUser()
		answer := hostile.PhoneAnswers(user, noServer)[i]
		tap := r.TapPhone(user)
		if i%2 == 0 {
			tap.Code = r.Login(user)
		}
		r.WeChat.Script(tap.PhoneCode, answer.Serve)
		wantInTime(t, r, answer, func() rig.Answer { return r.PostPhone(tap) })
		wantSeen(t, r, answer.Name, tap.PhoneCode, 1)
		r.WantPhoneByCode("after "+answer.Name, r.TapBoth(rig.NewUser()))
	})
}

func testCheckAnswers(t *testing.T) {
	t.Parallel()
	r := rig.Raise(t, func(c *stage.Config) {
		c.Env, c.Concurrency = []string{verifyOn, "WECHAT_TIMEOUT=" + shortTime.String()}, 4
	})
	inParallel(4, len(hostile.CheckAnswers(noServer)), func(i int) {
		answer := hostile.CheckAnswers(noServer)[i]
		tap := r.NewTap()
		r.WeChat.Script(wechattest.Hash(tap.EncryptedData), answer.Serve)
		wantInTime(t, r, answer, func() rig.Answer { return r.Post(tap) })
		wantSeen(t, r, answer.Name, wechattest.Hash(tap.EncryptedData), 1)
		r.WantPhone("after "+answer.Name, r.NewTap())
	})
}

// inParallel calls do with 0 to n-1. It makes up to limit calls at once.
func inParallel(limit, n int, do func(i int)) {
	var all sync.WaitGroup
	running := make(chan bool, limit)
	for i := range n {
		running <- true
		all.Go(func() {
			defer func() { <-running }()
			do(i)
		})
	}
	all.Wait()
}

// Lambda freezes the process during a fetch of the token. It resumes the process
// with the next event, long after the fetch should have ended. The failure of that
// fetch must not fail the event.
func testFreezeDuringAFetch(t *testing.T) {
	t.Parallel()
	r := rig.Raise(t, rig.Env("WECHAT_TIMEOUT=1s"))
	r.WeChat.Script(wechattest.TokenPath, hostile.Silence)
	r.WantFailure("silence", r.PostPhone(r.TapPhone(rig.NewUser())), "unavailable", 503, "retry")
	r.Freeze(func() {
		r.WeChat.Script(wechattest.TokenPath, nil)
		time.Sleep(3 * time.Second) // two until the fetch fails, and one while the failure is remembered
	}, true)
	wantFetches(t, r, "one that was frozen, and one after it", 2)
}

// Two processes serve 128 concurrent requests while the token expires several times
// and WeChat invalidates it once. No request may fail, and each process may fetch
// each token at most once.
func testTokenExpiry(t *testing.T) {
	t.Parallel()
	server := wechattest.New(stage.AppID, stage.AppSecret, time.Now)
	server.SetTokenLife(122*time.Second, 121*time.Second) // the last two minutes are not used
	var all sync.WaitGroup
	var fetches [2]atomic.Int32
	stop := make(chan bool)
	for p, variable := range []string{verifyOn, ""} {
		const concurrent = 64
		w := rig.NewWeChat(t, "http")
		w.Serve(http.HandlerFunc(func(out http.ResponseWriter, q *http.Request) {
			if q.URL.Path == wechattest.TokenPath {
				fetches[p].Add(1)
				time.Sleep(100 * time.Millisecond) // so that many requests wait for it
			}
			server.ServeHTTP(out, q)
		}))
		r := rig.Raise(t, func(c *stage.Config) {
			c.WeChatURL, c.Concurrency, c.Env = w.URL, concurrent, []string{"WECHAT_TIMEOUT=9s", variable}
		})
		r.WeChat = server
		for i := range concurrent {
			all.Go(func() { postUntil(r, stop, i%2 == 0) })
		}
	}
	rig.WaitFor(t, "the token has expired three times", func() bool { return server.Tokens() > 3 })
	server.EndToken()
	rig.WaitFor(t, "there is another token", func() bool { return server.Tokens() > 5 })
	close(stop)
	all.Wait()
	for p := range fetches {
		if got, tokens := int(fetches[p].Load()), server.Tokens(); got > tokens {
			t.Errorf("process %d: got %d fetches, want at most one for each of %d tokens", p, got, tokens)
		}
	}
}

// postUntil posts a tap every 200 ms, until stop is closed.
func postUntil(r *rig.Rig, stop <-chan bool, byPhoneCode bool) {
	for {
		select {
		case <-stop:
			return
		case <-time.After(200 * time.Millisecond):
		}
		if byPhoneCode {
			r.WantPhoneByCode("a request while the token expires", r.TapBoth(rig.NewUser()))
		} else {
			r.WantPhone("a request while the token expires", r.NewTap())
		}
	}
}

// WeChat invalidates the token during 64 calls that use it.
func testManyRejectedAtOnce(t *testing.T) {
	t.Parallel()
	const many = 64
	r := rig.Raise(t, func(c *stage.Config) {
		c.Concurrency, c.Env = many, []string{"WECHAT_TIMEOUT=9s", verifyOn}
	})
	var all sync.WaitGroup
	arrived, release := make(chan bool, many), make(chan bool)
	for i := range many {
		user := rig.NewUser()
		phone, sealed := r.TapPhone(user), r.Tap(user)
		key, post := phone.PhoneCode, func() rig.Answer { return r.PostPhone(phone) }
		if i%2 == 0 {
			key, post = wechattest.Hash(sealed.EncryptedData), func() rig.Answer { return r.Post(sealed) }
		}
		r.WeChat.Script(key, func(w http.ResponseWriter, q *http.Request) {
			r.WeChat.Script(key, nil)
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
	wantFetches(t, r, "start, and one for all rejections", 2)
}
