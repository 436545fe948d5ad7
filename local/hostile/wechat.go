package hostile

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"wechat-phone/local/stage"
	"wechat-phone/local/wechattest"
)

// Answer is a bad answer from WeChat.
type Answer struct {
	Name  string
	Serve http.HandlerFunc
	Want  Want

	Slow    bool          // it arrives too late or never
	ErrCode int           // WeChat's errcode, if the answer has one
	Sent    chan struct{} // closed once Surplus has sent all of it
}

// refuse returns an answer for each errcode. The function's answer must be want.
func refuse(want Want, errcodes ...int) (all []Answer) {
	for _, errcode := range errcodes {
		all = append(all, Answer{
			Name: fmt.Sprint("errcode ", errcode), ErrCode: errcode, Want: want,
			Serve: wechattest.Refuse(errcode, "text of "+mark+", 192.0.2.1"),
		})
	}
	return all
}

// notAllowed has the errcodes for a mini-program that is not allowed to call an API.
var notAllowed = []int{48001, 61024, 89501, 89503, 89506, 89507}

// Refusals returns documented and undocumented errcodes for the exchange of a login
// code.
func Refusals() []Answer {
	return slices.Concat(
		refuse(codeRejected, 40029, 40163), refuse(userBlocked, 40226), refuse(rateLimited, 45011),
		refuse(misconfigured, 40013, 40125, 41002, 41004, 40164, 40243),
		refuse(unavailable, -1),
		refuse(misconfigured, notAllowed...), refuse(quotaExhausted, 45009),
		refuse(upstreamError, 41008, 40002, 40001, 40003, 50001, -2, 1, 2147483648),
	)
}

// TokenRefusals returns errcodes for stable_token. Some are about a code or a
// user, although stable_token receives neither.
func TokenRefusals() []Answer {
	return slices.Concat(
		refuse(misconfigured, 40013, 40125, 40001, 41002, 41004, 40164, 40243),
		refuse(rateLimited, 45011), refuse(unavailable, -1),
		refuse(misconfigured, notAllowed...), refuse(quotaExhausted, 45009),
		refuse(upstreamError, 40002, 42001, 47001, 50001, 40029, 40163, 40226),
	)
}

// PhoneRefusals returns errcodes for the exchange of a phone code that came without
// a login code. 40001, 40014 and 42001 reject the access token, and then the next one
// too.
func PhoneRefusals() []Answer {
	return slices.Concat(
		refuse(codeRejected.withAction("tap"), 40029, 40163, 40013, 40003), // the last two: another app's, another user's
		refuse(userBlocked, 40226), refuse(rateLimited, 45011),
		refuse(misconfigured, 40125, 40164), refuse(unavailable, -1),
		refuse(misconfigured, notAllowed...), refuse(quotaExhausted, 45009),
		refuse(upstreamError.withAction("tap"), 40001, 40014, 42001, 47001, 50001, 1),
	)
}

// CheckRefusals returns errcodes for checkencryptedmsg. WeChat has accepted the login
// code by then, so the user must log in again.
func CheckRefusals() []Answer {
	return slices.Concat(
		refuse(undecryptable, 1),
		refuse(misconfigured, notAllowed...), refuse(quotaExhausted, 45009),
		refuse(unavailable.withAction("login"), -1, 40097, 44002, 47001, 40013, 40029, 40226, 45011,
			40001, 40014, 42001, 50001),
	)
}

// Bytes returns a handler that calls serve with the request's connection and then
// closes the connection.
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

// drip writes text over and over until the other side closes the connection.
func drip(c net.Conn, text string, pause time.Duration) {
	for {
		if _, err := io.WriteString(c, text); err != nil {
			return
		}
		time.Sleep(pause)
	}
}

// Silence never answers.
func Silence(w http.ResponseWriter, r *http.Request) { Bytes(stayOpen)(w, r) }

// stayOpen waits until the other side closes the connection.
func stayOpen(c net.Conn) { _, _ = io.Copy(io.Discard, c) }

const ok = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"

// reset ends a connection with a TCP reset.
func reset(c net.Conn) {
	if s, ok := c.(interface{ NetConn() net.Conn }); ok {
		c = s.NetConn()
	}
	_ = c.(*net.TCPConn).SetLinger(0)
	_ = c.Close()
}

// Answers returns bad answers to the exchange of a login code of user. elsewhere is
// the URL of another server. The function must never call it.
func Answers(user wechattest.User, elsewhere string) []Answer {
	key := `"session_key":"` + sessionKey(user) + `"`
	good := `{` + key + `,"openid":"` + user.OpenID + `"}`
	c := call{wechattest.LoginPath, good, elsewhere, upstreamError, timeout}
	return c.answers([]badBody{
		{"a duplicate name", `{"openid":"other",` + good[1:]},
		{"an openid in invalid UTF-8", `{` + key + `,"openid":"` + "\xff" + `"}`},
		{"openid a number", `{` + key + `,"openid":1}`},
		{"openid empty", `{` + key + `,"openid":""}`},
		{"openid null", `{` + key + `,"openid":null}`},
		{"openid missing", `{` + key + `}`},
		{"session key missing", `{"openid":"` + user.OpenID + `"}`},
		{"session key an array", `{"session_key":[],"openid":"o"}`},
		{"session key of 15 bytes", `{"session_key":"AAAAAAAAAAAAAAAAAAAA","openid":"o"}`},
		{"session key of 17 bytes", `{"session_key":"AAAAAAAAAAAAAAAAAAAAAAA=","openid":"o"}`},
		{"session key of 24 bytes", `{"session_key":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA","openid":"o"}`},
		{"session key that is not base64", `{"session_key":"!!!!!!!!!!!!!!!!!!!!!!==","openid":"o"}`},
		{"session key with a line end", `{"session_key":"AAAAAAAAAAAA\nAAAAAAAAAA==","openid":"o"}`},
	})
}

// TokenAnswers returns bad answers to stable_token. No code has been sent by then, so
// the caller can retry.
func TokenAnswers(elsewhere string) []Answer {
	token := `"access_token":"` + wechattest.TokenMark + `0"`
	c := call{wechattest.TokenPath, `{` + token + `,"expires_in":7200}`, elsewhere, unavailable, unavailable}
	return c.answers([]badBody{
		{"token missing", `{"expires_in":7200}`},
		{"token empty", `{"access_token":"","expires_in":7200}`},
		{"token null", `{"access_token":null,"expires_in":7200}`},
		{"token a number", `{"access_token":1,"expires_in":7200}`},
		{"a duplicate token", `{` + token + `,` + token + `,"expires_in":7200}`},
		{"lifetime missing", `{` + token + `}`},
		{"lifetime zero", `{` + token + `,"expires_in":0}`},
		{"lifetime negative", `{` + token + `,"expires_in":-1}`},
		{"lifetime beyond 64 bits", `{` + token + `,"expires_in":99999999999999999999}`},
		{"lifetime a string", `{` + token + `,"expires_in":"7200"}`},
	})
}

// PhoneAnswers returns bad answers to the exchange of a phone code of user.
func PhoneAnswers(user wechattest.User, elsewhere string) []Answer {
	const numbers = `"phoneNumber":"13599991111","purePhoneNumber":"13599991111","countryCode":86`
	info := func(numbers, watermark string) string {
		return `{"errcode":0,"errmsg":"ok","phone_info":{` + numbers +
			`,"watermark":{"timestamp":1700000000,` + watermark + `}}}`
	}
	app := `"appid":"` + stage.AppID + `"`
	with := func(from, to string) string { return info(strings.Replace(numbers, from, to, 1), app) }
	c := call{
		wechattest.PhonePath, info(numbers, app), elsewhere,
		upstreamError.withAction("tap"), timeout.withAction("tap"),
	}
	return c.answers([]badBody{
		{"no phone_info", `{"errcode":0,"errmsg":"ok"}`},
		{"phone_info null", `{"errcode":0,"phone_info":null}`},
		{"phone_info an array", `{"errcode":0,"phone_info":[{` + numbers + `}]}`},
		{"another mini-program's number", info(numbers, `"appid":"wx1111111111111111"`)},
		{"no watermark", `{"errcode":0,"phone_info":{` + numbers + `}}`},
		{"an empty watermark appid", info(numbers, `"appid":""`)},
		{"neither number", info(`"countryCode":86`, app)},
		{"both numbers blank", info(`"phoneNumber":" ","purePhoneNumber":" ","countryCode":86`, app)},
		{"both numbers empty", info(`"phoneNumber":"","purePhoneNumber":"","countryCode":86`, app)},
		{"phone a number", with(`"13599991111"`, `13599991111`)},
		{"country a bool", with(`86`, `true`)},
		{"a duplicate phone number", with(`"phoneNumber"`, `"phoneNumber":"13599992222","phoneNumber"`)},
	})
}

// CheckAnswers returns bad answers to checkencryptedmsg. WeChat has accepted the login
// code by then, so the user must log in again.
func CheckAnswers(elsewhere string) []Answer {
	want := unavailable.withAction("login")
	const good = `{"errcode":0,"errmsg":"ok","vaild":true,"create_time":1700000000}`
	c := call{wechattest.CheckPath, good, elsewhere, want, want}
	return c.answers([]badBody{
		{"no verdict", `{"errcode":0,"errmsg":"ok"}`},
		{"a verdict spelled correctly", `{"errcode":0,"errmsg":"ok","valid":true}`}, // WeChat writes vaild
		{"a verdict of null", `{"errcode":0,"vaild":null}`},
		{"a verdict of text", `{"errcode":0,"vaild":"true"}`},
		{"a verdict of 1", `{"errcode":0,"vaild":1}`},
		{"two verdicts", `{"errcode":0,"vaild":true,"vaild":true}`},
	})
}

// call describes a call to WeChat and makes bad answers to it.
type call struct {
	path        string
	good        string // the body of a good answer
	elsewhere   string // where redirects lead
	wantUseless Want   // if the answer is useless
	wantLate    Want   // if the answer does not come in time
}

// badBody is the body of an answer of status 200.
type badBody struct{ name, text string }

// answers returns answers with the given bodies, and answers that are bad for any
// call.
func (c call) answers(own []badBody) []Answer {
	return slices.Concat(c.bodies(own), c.bodies(c.commonBodies()), c.statuses(), c.excess(), c.broken(), c.late())
}

func (c call) useless(name string, serve http.HandlerFunc) Answer {
	return Answer{Name: name, Serve: serve, Want: c.wantUseless}
}

func (c call) bodies(bodies []badBody) (all []Answer) {
	for _, body := range bodies {
		all = append(all, c.useless(body.name, wechattest.Answer(body.text)))
	}
	return all
}

func (c call) commonBodies() []badBody {
	return []badBody{
		{"HTML", "<html><body>" + mark},
		{"an empty body", ""},
		{"{}", "{}"},
		{"null", "null"},
		{"an array", "[" + c.good + "]"},
		{"an empty array", "[]"},
		{"a string", `"` + mark + `"`},
		{"text after the object", c.good + c.good},
		{"truncated, with a matching length", c.good[:len(c.good)-2]},
		{"a duplicate unknown name", `{"a":1,"a":2,` + c.good[1:]},
		{"invalid UTF-8", `{"a":"` + "\xff" + `",` + c.good[1:]},
		{"deep", strings.Repeat(`{"a":`, 10900)},
		{"errcode a string", `{"errcode":"40029"}`},
		{"errcode a fraction", `{"errcode":40029.5}`},
		{"errcode beyond 64 bits", `{"errcode":99999999999999999999}`},
	}
}

func (c call) statuses() (all []Answer) {
	for _, status := range []int{201, 204, 304, 400, 401, 429, 500, 502} {
		all = append(all, c.useless(fmt.Sprint("status ", status), func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			if status != http.StatusNoContent && status != http.StatusNotModified {
				_, _ = io.WriteString(w, c.good)
			}
		}))
	}
	redirect := func(status int, to string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, to+"?"+r.URL.RawQuery, status)
		}
	}
	const switching = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n"
	return append(all,
		c.useless("redirect to another host", redirect(302, c.elsewhere)),
		c.useless("permanent redirect to another host", redirect(308, c.elsewhere)),
		c.useless("redirect to itself", redirect(307, c.path)),
		c.useless("another protocol", raw(switching, hangUp)))
}

// raw writes text to the connection and then calls then.
func raw(text string, then func(c net.Conn)) http.HandlerFunc {
	return Bytes(func(c net.Conn) {
		_, _ = io.WriteString(c, text)
		then(c)
	})
}

// hangUp does nothing, after which [Bytes] closes the connection.
func hangUp(net.Conn) {}

// chunked begins an answer whose body has no length.
const chunked = ok + "Transfer-Encoding: chunked\r\n\r\n"

// excess returns answers that are too long or lie about their length.
func (c call) excess() []Answer {
	spaces := strings.Repeat(" ", 4096)
	endless := func(text string) func(net.Conn) { return func(c net.Conn) { drip(c, text, 0) } }
	bomb := gzipBomb() // made here, because making it takes longer than an answer may
	return []Answer{
		c.useless("over 64 KiB", wechattest.Answer(c.good+strings.Repeat(" ", 64<<10))),
		c.useless("an endless body", raw(ok+"\r\n", endless(spaces))),
		c.useless("endless chunks", raw(chunked, endless("1000\r\n"+spaces+"\r\n"))),
		c.useless("endless tiny chunks", raw(chunked, endless(strings.Repeat("1\r\n \r\n", 99)))),
		c.useless("an endless header", raw("HTTP/1.1 200 OK\r\nA: ", endless(strings.Repeat("a", 4096)))),
		c.useless("endless headers", raw("HTTP/1.1 200 OK\r\n", endless(strings.Repeat("A: b\r\n", 500)))),
		c.useless("endless interim answers", Bytes(endless("HTTP/1.1 103 Early Hints\r\nA: b\r\n\r\n"))),
		c.useless("a false length", raw(ok+"Content-Length: 99999999999999\r\n\r\n"+c.good, hangUp)),
		c.useless("two lengths", raw(ok+"Content-Length: 5\r\nContent-Length: 500\r\n\r\n"+c.good, hangUp)),
		c.useless("a gzip bomb", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = w.Write(bomb)
		}),
	}
}

// broken returns answers that end early or are not HTTP.
func (c call) broken() []Answer {
	halfBody := ok + "Content-Length: 500\r\n\r\n" + c.good
	resetLater := func(c net.Conn) {
		time.Sleep(20 * time.Millisecond)
		reset(c)
	}
	return []Answer{
		c.useless("hanging up", Bytes(hangUp)),
		c.useless("a reset", Bytes(reset)),
		c.useless("not HTTP", raw(c.good+"\r\n\r\n", hangUp)),
		c.useless("half a status line", raw("HTTP/1.1 20", hangUp)),
		c.useless("half a header", raw(ok+"Content-Le", hangUp)),
		c.useless("half a body", raw(halfBody, hangUp)),
		c.useless("half a body and a reset", raw(halfBody, resetLater)),
		c.useless("half a chunk", raw(chunked+"1000\r\n"+c.good, hangUp)),
	}
}

// late returns answers that do not come in time.
func (c call) late() []Answer {
	slowly := func(text string, pause time.Duration) func(net.Conn) {
		return func(c net.Conn) { drip(c, text, pause) }
	}
	all := []Answer{
		{Name: "silence", Serve: Silence},
		{Name: "half a header and silence", Serve: raw(ok, stayOpen)},
		{Name: "half a body and silence", Serve: raw(ok+"Content-Length: 500\r\n\r\n"+c.good, stayOpen)},
		{Name: "slow interim answers", Serve: Bytes(slowly("HTTP/1.1 100 Continue\r\n\r\n", 50*time.Millisecond))},
		{Name: "a byte at a time", Serve: raw(ok, slowly("a", 100*time.Millisecond))},
	}
	for i := range all {
		all[i].Want, all[i].Slow = c.wantLate, true
	}
	return all
}

// Surplus returns good answers for user that are followed by more bytes. The exchange
// must succeed, and so must the next one, on any connection.
func Surplus(user wechattest.User, other wechattest.User) []Answer {
	answer := func(u wechattest.User) string {
		body := `{"session_key":"` + sessionKey(u) + `","openid":"` + u.OpenID + `"}`
		return fmt.Sprintf("%sContent-Length: %d\r\n\r\n%s", ok, len(body), body)
	}
	with := func(name, surplus string, pause time.Duration) Answer {
		sent := make(chan struct{})
		return Answer{Name: name, Sent: sent, Serve: Bytes(func(c net.Conn) {
			if pause == 0 {
				_, _ = io.WriteString(c, answer(user)+surplus)
			} else {
				_, _ = io.WriteString(c, answer(user))
				time.Sleep(pause)
				_, _ = io.WriteString(c, surplus)
			}
			close(sent)
			stayOpen(c)
		})}
	}
	const later = 20 * time.Millisecond
	const requestTimeout = "HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n\r\n"
	return []Answer{
		with("another user's session at once", answer(other), 0),
		with("another user's session 20 ms later", answer(other), later),
		with("a session key at once", `{"session_key":"`+sessionKey(other), 0),
		with("a session key 20 ms later", `{"session_key":"`+sessionKey(other), later),
		with("a line end at once", "\r\n", 0),
		with("408 and a close 20 ms later", requestTimeout, later),
	}
}

// gzipBomb returns 20 MB packed into 20 kB, which is below the function's limit for
// an answer.
var gzipBomb = sync.OnceValue(func() []byte {
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	_, _ = w.Write(make([]byte, 20<<20))
	_ = w.Close()
	return packed.Bytes()
})

// Undecryptable returns taps by user whose data does not open, each for a different
// reason. other is another user.
func Undecryptable(user, other wechattest.User, now time.Time) map[string]wechattest.Tap {
	s := sealer{user.SessionKey, now}
	all := s.badPhones()
	maps.Copy(all, s.badPaddings())
	maps.Copy(all, s.badTexts())
	maps.Copy(all, s.badWatermarks())
	cut := s.phone(phoneFields)
	cut.EncryptedData = cut.EncryptedData[:64] // 48 bytes
	all["cut after a block"] = cut
	all["another user's key"] = sealer{other.SessionKey, now}.phone(phoneFields)
	return all
}

const phoneFields = `"phoneNumber":"13599991111","purePhoneNumber":"13599991111","countryCode":"86"`

// sealer seals data that the function must refuse.
type sealer struct {
	sessionKey []byte
	now        time.Time
}

func (s sealer) text(text string) wechattest.Tap { return wechattest.Seal(s.sessionKey, []byte(text)) }

// withWatermark returns the text of fields with a watermark.
func withWatermark(fields string, at time.Time, appID string) string {
	return fmt.Sprintf(`{%s,"watermark":{"timestamp":%d,"appid":%q}}`, fields, at.Unix(), appID)
}

func (s sealer) phone(fields string) wechattest.Tap {
	return s.text(withWatermark(fields, s.now, stage.AppID))
}

// withEdit seals a phone number with one part replaced.
func (s sealer) withEdit(from, to string) wechattest.Tap { return s.phone(edit(phoneFields, from, to)) }

// withPadding seals a phone number that ends in last, in place of its padding. The text
// fills whole blocks.
func (s sealer) withPadding(last ...byte) wechattest.Tap {
	text := withWatermark(phoneFields, s.now, stage.AppID)
	text += strings.Repeat(" ", 16-(len(text)+len(last))%16)
	return wechattest.SealPadded(s.sessionKey, append([]byte(text), last...))
}

func (s sealer) badPaddings() map[string]wechattest.Tap {
	pad := func(n byte) []byte { return bytes.Repeat([]byte{n}, int(n)) }
	return map[string]wechattest.Tap{
		"no padding":             s.withPadding(' '),
		"padding of 0":           s.withPadding(0),
		"padding of 17":          s.withPadding(pad(17)...),
		"padding of 255":         s.withPadding(255),
		"a wrong pad byte":       s.withPadding(3, 2, 3, 3),
		"a wrong first pad byte": s.withPadding(append([]byte{0}, pad(16)[1:]...)...),
		"a missing pad byte":     s.withPadding('x', 4, 4, 4),
		"nothing but padding":    wechattest.SealPadded(s.sessionKey, bytes.Repeat(pad(16), 2)),
	}
}

func (s sealer) badTexts() map[string]wechattest.Tap {
	return map[string]wechattest.Tap{
		"invalid UTF-8":         s.withEdit("1111", "111\xff"),
		"half a surrogate pair": s.withEdit("1111", `111\udc00`),
		"not JSON":              s.text(strings.Repeat("x", 150)),
		"truncated JSON":        s.text(`{` + phoneFields),
		"an array":              s.text(`[{` + phoneFields + `}]`),
		"null":                  s.text("null" + strings.Repeat(" ", 40)),
		"a duplicate name":      s.withEdit(`"countryCode"`, `"countryCode":"86","countryCode"`),
	}
}

func (s sealer) badPhones() map[string]wechattest.Tap {
	return map[string]wechattest.Tap{
		"phone a number":              s.withEdit(`"phoneNumber":"13599991111"`, `"phoneNumber":13599991111`),
		"phone an object":             s.withEdit(`"phoneNumber":"13599991111"`, `"phoneNumber":{}`),
		"country a bool":              s.withEdit(`"86"`, `true`),
		"country a fraction":          s.withEdit(`"86"`, `86.5`),
		"country missing":             s.withEdit(`"countryCode":"86"`, `"country":"86"`),
		"country empty":               s.withEdit(`"86"`, `""`),
		"no phone":                    s.phone(`"nickName":"Band"`),
		"phone missing":               s.withEdit(`"phoneNumber"`, `"number"`),
		"pure phone missing":          s.withEdit(`"purePhoneNumber"`, `"pure"`),
		"phone empty":                 s.withEdit(`"phoneNumber":"13599991111"`, `"phoneNumber":""`),
		"inconsistent":                s.withEdit("1111", "1112"),
		"another country code before": s.withEdit(`"phoneNumber":"`, `"phoneNumber":"+87`),
		"letters before":              s.withEdit(`"phoneNumber":"`, `"phoneNumber":"tel:`),
	}
}

func (s sealer) badWatermarks() map[string]wechattest.Tap {
	at := func(t time.Time) wechattest.Tap { return s.text(withWatermark(phoneFields, t, stage.AppID)) }
	mark := func(watermark string) wechattest.Tap {
		return s.text("{" + phoneFields + `,"watermark":` + watermark + "}")
	}
	return map[string]wechattest.Tap{
		"another app":            s.text(withWatermark(phoneFields, s.now, "wx1111111111111111")),
		"stale":                  at(s.now.Add(-10*time.Minute - 5*time.Second)),
		"ahead":                  at(s.now.Add(2*time.Minute + 30*time.Second)),
		"the end of time":        at(time.Unix(1<<62, 0)),
		"watermark missing":      s.text("{" + phoneFields + "}"),
		"watermark an array":     mark("[]"),
		"watermark without time": mark(fmt.Sprintf(`{"appid":%q}`, stage.AppID)),
		"timestamp a string":     mark(fmt.Sprintf(`{"appid":%q,"timestamp":"%d"}`, stage.AppID, s.now.Unix())),
	}
}
