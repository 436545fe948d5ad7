package main

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"wechat-phone/local/hostile"
	"wechat-phone/local/lambdatest"
	"wechat-phone/local/stage"
	"wechat-phone/local/wechattest"
)

const (
	apps   = 50 // mini-programs, as many as a secret may hold
	atOnce = 64 // concurrent requests

	// succeeded is in the answer to a request that succeeds.
	succeeded = `"statusCode":200`
)

// The first mini-programs are broken.
const (
	wrongSecret = iota
	noQuota
	hanging
	firstGood
)

// appID returns the appid of the n-th mini-program. The first is [stage.AppID].
func appID(n int) string { return fmt.Sprintf("wx%016x", n) }

// appSecrets returns the text of a secret that holds all mini-programs.
func appSecrets() string {
	secrets := map[string]string{}
	for n := range apps {
		secrets[appID(n)] = stage.AppSecret
	}
	return stage.Secrets(secrets)
}

// startsFifty measures what reading many mini-programs' secrets costs.
func (b *bench) startsFifty() ([]row, error) {
	took, err := b.startsIn(601, b.fifty, b.near)
	return ratios("start with fifty mini-programs", 1.05, took, "ms", "with one"), err
}

// neighbours measures how much three broken mini-programs slow down the slowest
// requests of the good ones. Each side has its own process, because a broken
// mini-program's requests also decide which connections the process keeps.
func (b *bench) neighbours() ([]row, error) {
	server, clients, err := newClients()
	if err != nil {
		return nil, err
	}
	place := b.fiftyAway
	place.wechat = serveFar(server)
	defer place.wechat.Close()
	good := slices.DeleteFunc(slices.Clone(clients), func(c client) bool { return !c.good })
	sides := [][]client{clients, good}
	functions, took := make([]*lambdatest.Function, len(sides)), make([]sample, len(sides))
	for i := range functions {
		if functions[i], err = b.deploy(b.sides[0], place, atOnce); err != nil {
			return nil, err
		}
		defer functions[i].Close()
	}
	err = b.rounds(13, len(sides), func(i int) error {
		times, err := sendAll(functions[i], sides[i])
		if err != nil {
			return err
		}
		slices.Sort(times)
		took[i] = append(took[i], times[len(times)*99/100])
		return nil
	})
	const what = "64 requests at once, WeChat 50 ms away, three of fifty mini-programs broken, p99 of the others"
	return ratios(what, 1.3, took, "ms", "without the three"), err
}

// client sends a mini-program's requests, one after the other. They alternate between
// sealed data and a phone code.
type client struct {
	good   bool
	events [2][]byte
	wants  [2]string // parts of the answers
}

// newClients returns a client for each concurrent request, of all mini-programs in
// turn, and the mock WeChat that knows them.
func newClients() (*wechattest.Server, []client, error) {
	server := wechattest.New(appID(0), stage.AppSecret, time.Now)
	clients := make([]client, apps)
	for n := range clients {
		server.AddApp(appID(n), stage.AppSecret)
		var err error
		if clients[n], err = newClient(server, n); err != nil {
			return nil, nil, err
		}
	}
	return server, append(clients, clients[:atOnce-apps]...), nil
}

// newClient returns a client of the n-th mini-program, and breaks the mini-program if
// it is one of the first.
func newClient(server *wechattest.Server, n int) (client, error) {
	user := hostile.User(n)
	user.AppID = appID(n)
	login, phone := hostile.Code(n), hostile.PhoneCode(n)
	server.Know(login, user)
	server.KnowPhone(phone, user)
	script := func(answer http.HandlerFunc, keys ...string) {
		for _, key := range keys {
			server.Script(key, answer)
		}
	}
	c := client{good: n >= firstGood, wants: [2]string{succeeded, succeeded}}
	switch n {
	case wrongSecret:
		server.SetAppSecret(user.AppID, "reset")
		c.wants = [2]string{"misconfigured", "misconfigured"}
	case noQuota:
		script(wechattest.Refuse(45009, "reach max api daily quota limit"), login, phone)
		c.wants = [2]string{"quota_exhausted", "quota_exhausted"}
	case hanging:
		script(hostile.Silence, login, phone, wechattest.TokenKey(user.AppID))
		c.wants = [2]string{"upstream_timeout", "unavailable"}
	}
	sealed := server.SealPhone(user)
	sealed.Code = login
	for i, tap := range []any{sealed, wechattest.PhoneTap{PhoneCode: phone, AppID: user.AppID}} {
		var err error
		if c.events[i], err = newPost(tap); err != nil {
			return c, err
		}
	}
	return c, nil
}

// sendAll lets all clients send at once for a while. It returns how many ms the good
// ones' requests took. It leaves out the first requests, because they find fewer idle
// connections than later ones.
func sendAll(f *lambdatest.Function, clients []client) (sample, error) {
	begin := time.Now().Add(500 * time.Millisecond)
	end := begin.Add(2 * time.Second)
	times, failures := make([]sample, len(clients)), make([]error, len(clients))
	var all sync.WaitGroup
	for i, c := range clients {
		all.Go(func() {
			for n := 0; time.Now().Before(end) && failures[i] == nil; n++ {
				began := time.Now()
				var took float64
				took, failures[i] = send(f, c.events[n%2], c.wants[n%2])
				if c.good && began.After(begin) {
					times[i] = append(times[i], took)
				}
				// The function remembers some failures, and answers them at once.
				time.Sleep(time.Until(began.Add(roundTrip)))
			}
		})
	}
	all.Wait()
	return slices.Concat(times...), errors.Join(failures...)
}
