package hostile

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"wechat-phone/local/stage"
	"wechat-phone/local/wechattest"
)

// Answer is how WeChat treats a call.
type Answer struct {
	Name  string
	Serve http.HandlerFunc
	Want  Want

	Slow    bool // it takes all the time that the function gives it
	ErrCode int  // that the answer has
}

// refusal is an errcode, and what the caller is told of it.
type refusal struct {
	errcode int
	want    Want
}

func refusals(of []refusal) (all []Answer) {
	for _, r := range of {
		all = append(all, Answer{
			Name: fmt.Sprint("errcode ", r.errcode), ErrCode: r.errcode, Want: r.want,
			Serve: wechattest.Refuse(r.errcode, "text of "+mark+", 192.0.2.1"),
		})
	}
	return all
}

// Refusals are WeChat's errcodes, those of the contract's table and others, to
// the exchange of a login code.
func Refusals() []Answer {
	return refusals([]refusal{
		{40029, codeRejected}, {40163, codeRejected}, {40226, userBlocked}, {45011, rateLimited},
		{40013, misconfigured}, {40125, misconfigured}, {41002, misconfigured}, {41004, misconfigured}, {40164, misconfigured}, {40243, misconfigured},
		{-1, unavailable}, {45009, quotaExhausted},
		{48001, misconfigured}, {61024, misconfigured},
		{89501, misconfigured}, {89503, misconfigured}, {89506, misconfigured}, {89507, misconfigured},
		{41008, upstreamError}, {40002, upstreamError}, {40001, upstreamError}, {40003, upstreamError},
		{50001, upstreamError}, {-2, upstreamError}, {1, upstreamError}, {2147483648, upstreamError},
	})
}

// TokenRefusals are those to a request for an access token.
func TokenRefusals() []Answer {
	return refusals([]refusal{
		{40013, misconfigured}, {40125, misconfigured}, {40001, misconfigured}, {41002, misconfigured}, {41004, misconfigured}, {40164, misconfigured}, {40243, misconfigured},
		{45011, rateLimited}, {-1, unavailable}, {45009, quotaExhausted},
		{48001, misconfigured}, {61024, misconfigured},
		{89501, misconfigured}, {89503, misconfigured}, {89506, misconfigured}, {89507, misconfigured},
		{40002, upstreamError}, {42001, upstreamError}, {47001, upstreamError}, {50001, upstreamError},
		{40029, upstreamError}, {40163, upstreamError}, {40226, upstreamError}, // which tell of a code and a user, and there was none
	})
}

// PhoneRefusals are those to the exchange of a phone code that came alone.
func PhoneRefusals() []Answer {
	return refusals([]refusal{
		{40029, codeRejected.do("tap")}, {40163, codeRejected.do("tap")}, {40226, userBlocked}, {45011, rateLimited},
		{40013, codeRejected.do("tap")}, // another mini-program's
		{40003, codeRejected.do("tap")}, // another user's
		{40125, misconfigured}, {40164, misconfigured}, {-1, unavailable}, {45009, quotaExhausted},
		{48001, misconfigured}, {61024, misconfigured},
		{89501, misconfigured}, {89503, misconfigured}, {89506, misconfigured}, {89507, misconfigured},
		{40001, upstreamError.do("tap")}, {40014, upstreamError.do("tap")}, {42001, upstreamError.do("tap")}, // rejected again, with another token
		{47001, upstreamError.do("tap")}, {50001, upstreamError.do("tap")}, {1, upstreamError.do("tap")},
	})
}

// CheckRefusals are those to the question whether WeChat knows sealed data.
func CheckRefusals() []Answer {
	spent := unavailable.do("login")
	return refusals([]refusal{
		{1, undecryptable}, {-1, spent}, {40097, spent}, {44002, spent}, {47001, spent}, {40013, spent}, {40029, spent}, {40226, spent}, {45011, spent},
		{40001, spent}, {40014, spent}, {42001, spent}, {50001, spent},
		{45009, quotaExhausted}, {48001, misconfigured}, {61024, misconfigured},
		{89501, misconfigured}, {89503, misconfigured}, {89506, misconfigured}, {89507, misconfigured},
	})
}

// Bytes answers at the level of bytes.
func Bytes(serve func(c net.Conn)) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		c, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer func() { _ = c.Close() }()
		serve(c)
	}
}

// drip writes a text over and over, until the other side has enough.
func drip(c net.Conn, text string, pause time.Duration) {
	for {
		if _, err := io.WriteString(c, text); err != nil {
			return
		}
		time.Sleep(pause)
	}
}

// Silence never answers.
func Silence(w http.ResponseWriter, r *http.Request) { Bytes(silent)(w, r) }

// silent waits until the other side hangs up.
func silent(c net.Conn) { _, _ = io.Copy(io.Discard, c) }

const ok = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"

func reset(c net.Conn) {
	if s, ok := c.(interface{ NetConn() net.Conn }); ok {
		c = s.NetConn()
	}
	_ = c.(*net.TCPConn).SetLinger(0)
	_ = c.Close()
}

// Answers are answers that are no use, or none at all, to the exchange of a
// login code of user's. elsewhere is a URL that nothing may follow a redirect to.
func Answers(user wechattest.User, elsewhere string) []Answer {
	key := `"session_key":"` + sessionKey(user) + `"`
	good := `{` + key + `,"openid":"` + user.OpenID + `"}`
	return answers("/sns/jscode2session", good, elsewhere, upstreamError, timeout, []texts{
		{"a name twice", `{"openid":"other",` + good[1:]},
		{"an openid of no UTF-8", `{` + key + `,"openid":"` + "\xff" + `"}`},
		{"openid a number", `{` + key + `,"openid":1}`},
		{"openid empty", `{` + key + `,"openid":""}`},
		{"openid null", `{` + key + `,"openid":null}`},
		{"openid missing", `{` + key + `}`},
		{"session key missing", `{"openid":"` + user.OpenID + `"}`},
		{"session key an array", `{"session_key":[],"openid":"o"}`},
		{"session key of 15 bytes", `{"session_key":"AAAAAAAAAAAAAAAAAAAA","openid":"o"}`},
		{"session key of 17 bytes", `{"session_key":"AAAAAAAAAAAAAAAAAAAAAAA=","openid":"o"}`},
		{"session key of 24 bytes", `{"session_key":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA","openid":"o"}`},
		{"session key that is no base64", `{"session_key":"!!!!!!!!!!!!!!!!!!!!!!==","openid":"o"}`},
		{"session key with a line end", `{"session_key":"AAAAAAAAAAAA\nAAAAAAAAAA==","openid":"o"}`},
	})
}

// TokenAnswers are such answers to a request for an access token. Nothing of a
// user's is spent so.
func TokenAnswers(elsewhere string) []Answer {
	token := `"access_token":"` + wechattest.TokenMark + `0"`
	return answers(wechattest.TokenPath, `{`+token+`,"expires_in":7200}`, elsewhere, unavailable, unavailable, []texts{
		{"token missing", `{"expires_in":7200}`},
		{"token empty", `{"access_token":"","expires_in":7200}`},
		{"token null", `{"access_token":null,"expires_in":7200}`},
		{"token a number", `{"access_token":1,"expires_in":7200}`},
		{"a token twice", `{` + token + `,` + token + `,"expires_in":7200}`},
		{"life missing", `{` + token + `}`},
		{"life of nothing", `{` + token + `,"expires_in":0}`},
		{"life before birth", `{` + token + `,"expires_in":-1}`},
		{"life beyond 64 bits", `{` + token + `,"expires_in":99999999999999999999}`},
		{"life a string", `{` + token + `,"expires_in":"7200"}`},
	})
}

// PhoneAnswers are such answers to the exchange of a phone code of user's.
func PhoneAnswers(user wechattest.User, elsewhere string) []Answer {
	const numbers = `"phoneNumber":"13599991111","purePhoneNumber":"13599991111","countryCode":86`
	info := func(numbers, watermark string) string {
		return `{"errcode":0,"errmsg":"ok","phone_info":{` + numbers + `,"watermark":{"timestamp":1700000000,` + watermark + `}}}`
	}
	app := `"appid":"` + stage.AppID + `"`
	with := func(from, to string) string { return info(strings.Replace(numbers, from, to, 1), app) }
	return answers("/wxa/business/getuserphonenumber", info(numbers, app), elsewhere, upstreamError.do("tap"), timeout.do("tap"), []texts{
		{"no phone_info", `{"errcode":0,"errmsg":"ok"}`},
		{"phone_info null", `{"errcode":0,"phone_info":null}`},
		{"phone_info an array", `{"errcode":0,"phone_info":[{` + numbers + `}]}`},
		{"another mini-program's", info(numbers, `"appid":"wx1111111111111111"`)},
		{"no watermark", `{"errcode":0,"phone_info":{` + numbers + `}}`},
		{"a watermark of nobody's", info(numbers, `"appid":""`)},
		{"neither number", info(`"countryCode":86`, app)},
		{"both numbers empty", info(`"phoneNumber":"","purePhoneNumber":"","countryCode":86`, app)},
		{"phone a number", with(`"13599991111"`, `13599991111`)},
		{"country a bool", with(`86`, `true`)},
		{"a phone number twice", with(`"phoneNumber"`, `"phoneNumber":"13599992222","phoneNumber"`)},
	})
}

// CheckAnswers are such answers to the question whether WeChat knows sealed
// data. The user's login code is spent by then.
func CheckAnswers(elsewhere string) []Answer {
	spent := unavailable.do("login")
	return answers("/wxa/business/checkencryptedmsg", `{"errcode":0,"errmsg":"ok","vaild":true,"create_time":1700000000}`, elsewhere, spent, spent, []texts{
		{"no verdict", `{"errcode":0,"errmsg":"ok"}`},
		{"a verdict in English", `{"errcode":0,"errmsg":"ok","valid":true}`},
		{"a verdict of null", `{"errcode":0,"vaild":null}`},
		{"a verdict of text", `{"errcode":0,"vaild":"true"}`},
		{"a verdict of 1", `{"errcode":0,"vaild":1}`},
		{"two verdicts", `{"errcode":0,"vaild":true,"vaild":true}`},
	})
}

// texts is an answer that is no use by its text.
type texts struct{ name, text string }

// answers are those that are no use to a call of path, whose good answer is
// good: those that more has, and those that are none to any call.
func answers(path, good, elsewhere string, wantUseless, wantLate Want, more []texts) (all []Answer) {
	text := func(body string) http.HandlerFunc { return wechattest.Answer(body) }
	status := func(status int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			if status != http.StatusNoContent && status != http.StatusNotModified {
				_, _ = io.WriteString(w, good)
			}
		}
	}
	redirect := func(status int, to string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, to+"?"+r.URL.RawQuery, status) // #nosec G710 -- the point of it
		}
	}
	raw := func(head string, then func(c net.Conn)) http.HandlerFunc {
		return Bytes(func(c net.Conn) {
			_, _ = io.WriteString(c, head)
			then(c)
		})
	}
	done := func(net.Conn) {}
	packed := bomb() // now, since making it takes longer than WeChat may
	useless := func(name string, serve http.HandlerFunc) Answer {
		return Answer{Name: name, Serve: serve, Want: wantUseless}
	}
	late := func(name string, serve http.HandlerFunc) Answer {
		return Answer{Name: name, Serve: serve, Want: wantLate, Slow: true}
	}
	for _, one := range more {
		all = append(all, useless(one.name, text(one.text)))
	}
	return append(all,
		useless("HTML", text("<html><body>"+mark)),
		useless("nothing", text("")),
		useless("{}", text("{}")),
		useless("null", text("null")),
		useless("an array", text("["+good+"]")),
		useless("an empty array", text("[]")),
		useless("a string", text(`"`+mark+`"`)),
		useless("text after it", text(good+good)),
		useless("cut short, whole by its length", text(good[:len(good)-2])),
		useless("an unknown name twice", text(`{"a":1,"a":2,`+good[1:])),
		useless("no UTF-8", text(`{"a":"`+"\xff"+`",`+good[1:])),
		useless("deep", text(strings.Repeat(`{"a":`, 10900))),
		useless("errcode a string", text(`{"errcode":"40029"}`)),
		useless("errcode a fraction", text(`{"errcode":40029.5}`)),
		useless("errcode beyond 64 bits", text(`{"errcode":99999999999999999999}`)),

		useless("status 201", status(201)), useless("status 204", status(204)), useless("status 304", status(304)), useless("status 400", status(400)),
		useless("status 401", status(401)), useless("status 429", status(429)), useless("status 500", status(500)), useless("status 502", status(502)),
		useless("redirect to another host", redirect(302, elsewhere)), useless("permanent redirect to another host", redirect(308, elsewhere)),
		useless("redirect to itself", redirect(307, path)),
		useless("another protocol", raw("HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n", done)),

		useless("over 64 KiB", text(good+strings.Repeat(" ", 64<<10))),
		useless("a body without end", raw(ok+"\r\n", func(c net.Conn) { drip(c, strings.Repeat(" ", 4096), 0) })),
		useless("chunks without end", raw(ok+"Transfer-Encoding: chunked\r\n\r\n", func(c net.Conn) { drip(c, "1000\r\n"+strings.Repeat(" ", 4096)+"\r\n", 0) })),
		useless("tiny chunks without end", raw(ok+"Transfer-Encoding: chunked\r\n\r\n", func(c net.Conn) { drip(c, strings.Repeat("1\r\n \r\n", 99), 0) })),
		useless("a header without end", raw("HTTP/1.1 200 OK\r\nA: ", func(c net.Conn) { drip(c, strings.Repeat("a", 4096), 0) })),
		useless("headers without end", raw("HTTP/1.1 200 OK\r\n", func(c net.Conn) { drip(c, strings.Repeat("A: b\r\n", 500), 0) })),
		useless("interim answers without end", Bytes(func(c net.Conn) { drip(c, "HTTP/1.1 103 Early Hints\r\nA: b\r\n\r\n", 0) })),
		useless("a length that is a lie", raw(ok+"Content-Length: 99999999999999\r\n\r\n"+good, done)),
		useless("two lengths", raw(ok+"Content-Length: 5\r\nContent-Length: 500\r\n\r\n"+good, done)),
		useless("a gzip bomb", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = w.Write(packed)
		}),

		useless("hanging up", Bytes(done)),
		useless("a reset", Bytes(reset)),
		useless("no HTTP", raw(good+"\r\n\r\n", done)),
		useless("half a status line", raw("HTTP/1.1 20", done)),
		useless("half a header", raw(ok+"Content-Le", done)),
		useless("half a body", raw(ok+"Content-Length: 500\r\n\r\n"+good, done)),
		useless("half a body and a reset", raw(ok+"Content-Length: 500\r\n\r\n"+good, func(c net.Conn) { time.Sleep(20 * time.Millisecond); reset(c) })),
		useless("half a chunk", raw(ok+"Transfer-Encoding: chunked\r\n\r\n1000\r\n"+good, done)),

		late("silence", Silence),
		late("half a header and silence", raw(ok, silent)),
		late("half a body and silence", raw(ok+"Content-Length: 500\r\n\r\n"+good, silent)),
		late("interim answers, slowly", Bytes(func(c net.Conn) { drip(c, "HTTP/1.1 100 Continue\r\n\r\n", 50*time.Millisecond) })),
		late("a byte at a time", raw(ok, func(c net.Conn) { drip(c, "a", 100*time.Millisecond) })),
	)
}

// Surplus are good answers with bytes behind them that nobody asked for. The
// exchange succeeds, and so does the next one, on whatever connection.
func Surplus(user wechattest.User, other wechattest.User) []Answer {
	answer := func(u wechattest.User) string {
		body := `{"session_key":"` + sessionKey(u) + `","openid":"` + u.OpenID + `"}`
		return fmt.Sprintf("%sContent-Length: %d\r\n\r\n%s", ok, len(body), body)
	}
	behind := func(surplus string, pause time.Duration) http.HandlerFunc {
		return Bytes(func(c net.Conn) {
			if pause == 0 {
				_, _ = io.WriteString(c, answer(user)+surplus)
			} else {
				_, _ = io.WriteString(c, answer(user))
				time.Sleep(pause)
				_, _ = io.WriteString(c, surplus)
			}
			silent(c)
		})
	}
	return []Answer{
		{Name: "another's session at once", Serve: behind(answer(other), 0)},
		{Name: "another's session 20 ms later", Serve: behind(answer(other), 20*time.Millisecond)},
		{Name: "a session key at once", Serve: behind(`{"session_key":"`+sessionKey(other), 0)},
		{Name: "a session key 20 ms later", Serve: behind(`{"session_key":"`+sessionKey(other), 20*time.Millisecond)},
		{Name: "a line end at once", Serve: behind("\r\n", 0)},
		{Name: "408 and the end 20 ms later", Serve: behind("HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n\r\n", 20*time.Millisecond)},
	}
}

// bomb is 20 MB in 20 kB, which is within what is read of an answer.
var bomb = sync.OnceValue(func() []byte {
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	_, _ = w.Write(make([]byte, 20<<20))
	_ = w.Close()
	return packed.Bytes()
})

// Undecryptable are taps of user's whose data does not open, each for another
// reason. other is another user.
func Undecryptable(user, other wechattest.User, now time.Time) map[string]wechattest.Tap {
	const phone = `"phoneNumber":"13599991111","purePhoneNumber":"13599991111","countryCode":"86"`
	text := func(fields string, at time.Time, appID string) []byte {
		return fmt.Appendf(nil, `{%s,"watermark":{"timestamp":%d,"appid":%q}}`, fields, at.Unix(), appID)
	}
	seal := func(fields string) wechattest.Tap {
		return wechattest.Seal(user.SessionKey, text(fields, now, stage.AppID))
	}
	with := func(from, to string) wechattest.Tap {
		if !strings.Contains(phone, from) {
			panic("hostile: no " + from + " in the phone")
		}
		return seal(strings.Replace(phone, from, to, 1))
	}
	padded := func(last ...byte) wechattest.Tap {
		whole := text(phone, now, stage.AppID)
		whole = append(whole, bytes.Repeat([]byte(" "), 16-(len(whole)+len(last))%16)...)
		return wechattest.SealPadded(user.SessionKey, append(whole, last...))
	}
	cut := seal(phone)
	cut.EncryptedData = cut.EncryptedData[:64] // 48 bytes of it
	return map[string]wechattest.Tap{
		"another user's key":        wechattest.Seal(other.SessionKey, text(phone, now, stage.AppID)),
		"cut at a block":            cut,
		"no padding":                padded(' '),
		"padding of 0":              padded(0),
		"padding of 17":             padded(bytes.Repeat([]byte{17}, 17)...),
		"padding of 255":            padded(255),
		"a pad byte wrong":          padded(3, 2, 3, 3),
		"the first pad byte wrong":  padded(append([]byte{0}, bytes.Repeat([]byte{16}, 15)...)...),
		"a pad byte missing":        padded('x', 4, 4, 4),
		"nothing but padding":       wechattest.SealPadded(user.SessionKey, bytes.Repeat([]byte{16}, 32)),
		"no UTF-8":                  with("1111", "111\xff"),
		"half a surrogate pair":     with("1111", `111\udc00`),
		"no JSON":                   wechattest.Seal(user.SessionKey, []byte(strings.Repeat("x", 150))),
		"half of JSON":              wechattest.Seal(user.SessionKey, []byte(`{`+phone)),
		"an array":                  wechattest.Seal(user.SessionKey, []byte(`[{`+phone+`}]`)),
		"null":                      wechattest.Seal(user.SessionKey, []byte("null"+strings.Repeat(" ", 40))),
		"a name twice":              with(`"countryCode"`, `"countryCode":"86","countryCode"`),
		"phone a number":            with(`"phoneNumber":"13599991111"`, `"phoneNumber":13599991111`),
		"phone an object":           with(`"phoneNumber":"13599991111"`, `"phoneNumber":{}`),
		"country a bool":            with(`"86"`, `true`),
		"country a fraction":        with(`"86"`, `86.5`),
		"country missing":           with(`"countryCode":"86"`, `"country":"86"`),
		"country empty":             with(`"86"`, `""`),
		"no phone":                  seal(`"nickName":"Band"`),
		"phone missing":             with(`"phoneNumber"`, `"number"`),
		"pure phone missing":        with(`"purePhoneNumber"`, `"pure"`),
		"phone empty":               with(`"phoneNumber":"13599991111"`, `"phoneNumber":""`),
		"inconsistent":              with("1111", "1112"),
		"another country before it": with(`"phoneNumber":"`, `"phoneNumber":"+87`),
		"letters before it":         with(`"phoneNumber":"`, `"phoneNumber":"tel:`),
		"another app":               wechattest.Seal(user.SessionKey, text(phone, now, "wx1111111111111111")),
		"stale":                     wechattest.Seal(user.SessionKey, text(phone, now.Add(-10*time.Minute-5*time.Second), stage.AppID)),
		"ahead":                     wechattest.Seal(user.SessionKey, text(phone, now.Add(2*time.Minute+30*time.Second), stage.AppID)),
		"the end of time":           wechattest.Seal(user.SessionKey, text(phone, time.Unix(1<<62, 0), stage.AppID)),
		"watermark missing":         wechattest.Seal(user.SessionKey, []byte("{"+phone+"}")),
		"watermark an array":        wechattest.Seal(user.SessionKey, []byte("{"+phone+`,"watermark":[]}`)),
		"watermark without time":    wechattest.Seal(user.SessionKey, fmt.Appendf(nil, `{%s,"watermark":{"appid":%q}}`, phone, stage.AppID)),
		"timestamp a string":        wechattest.Seal(user.SessionKey, fmt.Appendf(nil, `{%s,"watermark":{"appid":%q,"timestamp":"%d"}}`, phone, stage.AppID, now.Unix())),
	}
}
