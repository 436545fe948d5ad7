package main

import (
	"context"
	"encoding/base64"
	"encoding/json/v2"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"wechat-phone/local/hostile"
	"wechat-phone/local/rig"
	"wechat-phone/local/stage"
	"wechat-phone/local/wechattest"
	"wechat-phone/shared/appsecret"
	"wechat-phone/shared/identity"
	"wechat-phone/shared/opendata"
	"wechat-phone/shared/wechat"
)

// A token's promise: if it has a phone number, WeChat vouched for that number and the
// token's openid, either in the same request (a tap) or less than TOKEN_RENEWAL before the
// token's iat.

// vouched is what WeChat said about a number.
type vouched struct {
	appID, openID, number string
	at                    time.Time
}

// world plays WeChat, the signing secret and the users for a handler. It is a
// wechatAPI, a secretStore and a keyStore.
type world struct {
	*testing.T
	*rand.Rand
	h   *handler
	now time.Time

	keys  *identity.Keys
	lists []keyList // that come next

	app      string // of the request
	who      wechattest.User
	number   string // that the tap gives, in mainland China's form
	disowned bool   // WeChat did not seal the data

	vouched []vouched
	tokens  []token
	seen    map[string]int // outcomes
}

// token is a token, and whose it is.
type token struct{ app, openID, text string }

var promiseStart = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func newWorld(t *testing.T, seed uint64, lists []keyList) *world {
	t.Helper()
	w := &world{
		T: t, Rand: rand.New(rand.NewPCG(seed, 7)), now: promiseStart, lists: lists, seen: map[string]int{},
	}
	w.h = &handler{
		secrets: w, tokens: stubTokens{}, wechat: w, timeout: time.Second, maxAge: time.Minute, verify: true,
		now: func() time.Time { return w.now }, log: slog.New(slog.NewJSONHandler(io.Discard, nil)),
		issuer: &issuer{
			url: "https://api.example.com", keys: signing{w}, lifetime: time.Hour, renewal: 5 * 24 * time.Hour,
		},
	}
	w.reread()
	return w
}

// keyList is a list of keys, and when make key wrote it.
type keyList struct {
	at   time.Time
	text string
}

var promiseApps = stage.Secrets(map[string]string{stage.AppID: stage.AppSecret, stage.SecondAppID: stage.AppSecret})

func (w *world) Get(context.Context) (appsecret.Apps, error) { return appsecret.Parse(promiseApps) }

func (w *world) Discover(ctx context.Context) (appsecret.Apps, error) { return w.Get(ctx) }

func (w *world) Usable(_ context.Context, app wechat.Credentials) (wechat.Credentials, error) {
	return app, nil
}

func (w *world) Refresh(_ context.Context, app wechat.Credentials) (wechat.Credentials, error) {
	return app, nil
}

func (w *world) Code2Session(context.Context, wechat.Credentials, string) (wechat.Session, error) {
	key, err := opendata.ParseSessionKey(base64.StdEncoding.EncodeToString(w.who.SessionKey))
	return wechat.Session{Key: key, OpenID: w.who.OpenID}, err
}

// PhoneNumber vouches for the number. Its watermark's time may be anything.
func (w *world) PhoneNumber(
	_ context.Context, token wechat.AccessToken, _, openID string,
) (opendata.Phone, time.Time, error) {
	if openID == w.who.OpenID && token.AppID == w.app {
		w.vouch()
	}
	times := []time.Time{{}, time.Unix(-1, 0), time.Unix(1<<62, 0), w.now, w.now.Add(-time.Hour), w.now.Add(time.Hour)}
	return opendata.Phone{PhoneNumber: w.number, PurePhoneNumber: w.number, CountryCode: "86"},
		times[w.IntN(len(times))], nil
}

func (w *world) CheckEncryptedMsg(context.Context, wechat.AccessToken, opendata.Sealed) error {
	if w.disowned {
		return &wechat.Error{API: wechat.SealedDataAPI, Kind: wechat.Disowned}
	}
	w.vouch()
	return nil
}

func (w *world) vouch() {
	w.vouched = append(w.vouched, vouched{w.app, w.who.OpenID, "+86" + w.number, w.now})
}

// signing is the world as a keyStore.
type signing struct{ *world }

func (s signing) Load() error { return nil }

func (s signing) Get(context.Context) (*identity.Keys, error) { return s.keys, nil }

// post sends a request to the handler and returns its answer.
func (w *world) post(path string, body map[string]string) (answer struct {
	Error, Token, Reason, E164 string
	Renewed                    *bool
}) {
	w.Helper()
	body["appid"] = w.app
	text, _ := json.Marshal(body)
	event, _ := json.Marshal(map[string]any{
		"version": "2.0", "routeKey": "POST " + path, "body": string(text),
		"requestContext": map[string]any{"http": map[string]string{"method": "POST"}},
	})
	raw, _ := w.h.Invoke(w.Context(), event)
	var envelope struct{ Body string }
	err := json.Unmarshal(raw, &envelope, json.MatchCaseInsensitiveNames(true))
	if err == nil {
		err = json.Unmarshal([]byte(envelope.Body), &answer, json.MatchCaseInsensitiveNames(true))
	}
	if err != nil {
		w.Fatalf("got an answer that is not JSON: %v", err)
	}
	return answer
}

// check checks the promise for a token that was issued just now.
func (w *world) check(text string, tap bool) {
	w.Helper()
	claims := rig.Claims(w, text)
	number := func(name string) int64 { f, _ := claims[name].(float64); return int64(f) }
	phone, _ := claims["phone_number"].(string)
	verifiedAt := number("phone_number_verified_at")
	w.tokens = append(w.tokens, token{w.app, w.who.OpenID, text})
	now := w.now.Unix()
	if claims["sub"] != w.who.OpenID || claims["aud"] != w.app || number("iat") != now || number("auth_time") != now ||
		number("exp") != now+int64(w.h.issuer.lifetime/time.Second) {
		w.Error("got a token with another user, mini-program or time than the request's")
	}
	if claims["scope"] == "openid" && phone == "" && claims["phone_number_verified"] == nil && verifiedAt == 0 {
		return
	}
	if claims["scope"] != "openid phone" || claims["phone_number_verified"] != true || verifiedAt <= 0 {
		w.Errorf("got a token with the scope %q and other phone claims", claims["scope"])
	}
	if ahead := verifiedAt - now; tap && ahead > 0 || ahead > 120 {
		w.Errorf("got a number verified %d s ahead", ahead)
	}
	for _, v := range w.vouched {
		age := w.now.Sub(v.at)
		if v.appID == w.app && v.openID == w.who.OpenID && v.number == phone &&
			age < w.h.issuer.renewal && age >= -2*time.Minute {
			w.seen["phone"]++
			return
		}
	}
	w.Errorf("got a number that WeChat did not vouch for within %v", w.h.issuer.renewal)
}

func (w *world) login() {
	body := map[string]string{"code": hostile.Code(1)}
	sent := len(w.tokens) > 0 && w.IntN(4) > 0
	if sent {
		body["token"] = w.earlierToken()
	}
	answer := w.post("/login", body)
	if answer.Token == "" || sent != (answer.Renewed != nil) {
		w.Fatalf("got error %q, a token %v, renewed %v, want a token, and renewed if one was sent: %v",
			answer.Error, answer.Token != "", answer.Renewed, sent)
	}
	if sent {
		w.seen[strings.TrimSpace(fmt.Sprint(*answer.Renewed, " ", answer.Reason))]++
	}
	w.check(answer.Token, false)
}

// earlierToken returns one of the last tokens: usually the user's own, sometimes a part
// of one.
func (w *world) earlierToken() string {
	last := w.tokens[max(0, len(w.tokens)-20):]
	found := last[w.IntN(len(last))]
	for range 10 {
		if found.app == w.app && found.openID == w.who.OpenID {
			break
		}
		found = last[w.IntN(len(last))]
	}
	if w.IntN(10) == 0 {
		return found.text[:w.IntN(len(found.text))]
	}
	return found.text
}

func (w *world) tap() {
	body := map[string]string{"code": hostile.Code(1), "phoneCode": hostile.PhoneCode(1)}
	sealed := w.IntN(2) == 0
	if sealed {
		user := w.who
		user.Phone, user.PurePhone, user.CountryCode, user.AppID = w.number, w.number, "86", w.app
		tap := wechattest.New(w.app, stage.AppSecret, func() time.Time { return w.now }).SealPhone(user)
		body = map[string]string{"code": body["code"], "encryptedData": tap.EncryptedData, "iv": tap.IV}
		w.disowned = w.IntN(4) == 0
	}
	answer := w.post("/phone", body)
	if sealed && w.h.verify && w.disowned {
		if answer.Error != "undecryptable" || answer.Token != "" {
			w.Errorf("data that WeChat did not seal: got error %q", answer.Error)
		}
		return
	}
	if answer.Token == "" {
		w.Fatalf("got error %q, want a token", answer.Error)
	}
	w.check(answer.Token, true)
}

// step makes one random step.
func (w *world) step() {
	people := 3
	i := w.IntN(people)
	w.app = []string{stage.AppID, stage.SecondAppID}[w.IntN(2)]
	w.who = hostile.User(i)
	w.who.AppID = w.app
	w.number = fmt.Sprintf("1359999000%d", w.IntN(people)) // numbers change hands
	w.h.verify = w.IntN(2) == 0
	switch n := w.IntN(16); {
	case n < 4:
		w.tap()
	case n < 12:
		w.login()
	case n < 13:
		w.now = w.now.Add(-time.Duration(w.IntN(400)) * time.Second) // the clock jumps back
	default:
		w.now = w.now.Add(time.Duration(w.IntN(4*24*3600)) * time.Second)
	}
	w.reread()
}

// reread reads the latest list of keys.
func (w *world) reread() {
	w.Helper()
	for len(w.lists) > 0 && !w.now.Before(w.lists[0].at) {
		keys, err := identity.ParseKeys(w.lists[0].text)
		if err != nil {
			w.Fatal(err)
		}
		w.keys, w.lists = keys, w.lists[1:]
	}
}

// However often a token is renewed, the time of the verification never moves.
func TestNumberCannotBeRenewedForEver(t *testing.T) {
	t.Parallel()
	rig.Long(t)
	w := newWorld(t, 1, keyHistory(t, promiseStart)[:1])
	w.app, w.who, w.number = stage.AppID, hostile.User(1), "13599990001"
	w.tap()
	verifiedAt := rig.Claims(t, w.tokens[0].text)["phone_number_verified_at"]
	if verifiedAt == nil {
		t.Fatal("got a token without a number from a tap, want one with it")
	}
	renewals := 0
	for step := w.h.issuer.renewal / 1000; ; renewals++ {
		w.now = w.now.Add(step)
		answer := w.post("/login", map[string]string{
			"code": hostile.Code(1), "token": w.tokens[len(w.tokens)-1].text,
		})
		w.check(answer.Token, false)
		if !*answer.Renewed {
			break
		}
		if got := rig.Claims(t, answer.Token)["phone_number_verified_at"]; got != verifiedAt {
			t.Fatalf("renewal %d: got phone_number_verified_at %v, want still %v", renewals, got, verifiedAt)
		}
	}
	if renewals < 990 || renewals > 1000 {
		t.Errorf("got %d renewals, want one for each thousandth of TOKEN_RENEWAL", renewals)
	}
}

// keyHistory is what make key writes in two months: rotations and two revocations.
func keyHistory(t *testing.T, from time.Time) (lists []keyList) {
	t.Helper()
	change, err := identity.New(from)
	for i := range 9 {
		if err != nil {
			t.Fatal(err)
		}
		text, at := change.List.Reveal(), from.Add(time.Duration(i)*7*24*time.Hour)
		lists = append(lists, keyList{at, text})
		next := at.Add(7 * 24 * time.Hour)
		if i%4 == 3 {
			keys, _ := identity.ParseKeys(text)
			change, err = identity.Revoke(text, keys.All()[0].ID, next)
		} else {
			change, err = identity.Rotate(text, next)
		}
	}
	return lists
}

func TestTokenHasOnlyNumbersThatWeChatVouchedFor(t *testing.T) {
	t.Parallel()
	rig.Long(t)
	lists := keyHistory(t, promiseStart)
	seen := map[string]int{}
	for seed := range uint64(20) {
		w := newWorld(t, seed, lists)
		for range 150 {
			w.step()
		}
		for outcome, n := range w.seen {
			seen[outcome] += n
		}
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
	for _, outcome := range []string{
		"phone", "true", "false invalid", "false foreign", "false no_phone", "false expired",
	} {
		if seen[outcome] < 30 {
			t.Errorf("got %q %d times, want at least 30 in %v", outcome, seen[outcome], seen)
		}
	}
}
