package wechattest

import (
	"fmt"
	"io"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"
)

// caller calls a Server, whose clock it sets.
type caller struct {
	*Server
	t   *testing.T
	now time.Time
}

func newCaller(t *testing.T) *caller {
	c := &caller{t: t, now: time.Unix(1790000000, 0)}
	c.Server = New("wx1", "secret1", func() time.Time { return c.now })
	return c
}

var errcode = regexp.MustCompile(`^\{"errcode":(-?\d+),"errmsg":"[a-z_ ,]+, rid: [0-9a-f]{8}-[0-9a-f]{8}-[0-9a-f]{8}"}$`)

// post returns the errcode of the answer, or the answer.
func (c *caller) post(target, body string) string {
	c.t.Helper()
	w := httptest.NewRecorder()
	c.ServeHTTP(w, httptest.NewRequest("POST", target, strings.NewReader(body)))
	if w.Code != 200 || w.Header().Get("Content-Type") != "text/plain" {
		c.t.Errorf("%s: %d %s", target, w.Code, w.Header().Get("Content-Type"))
	}
	if m := errcode.FindStringSubmatch(w.Body.String()); m != nil {
		return m[1]
	}
	return w.Body.String()
}

func (c *caller) want(name, got, want string) {
	c.t.Helper()
	if got != want {
		c.t.Errorf("%s: %s, want %s", name, got, want)
	}
}

const goodCredentials = `{"grant_type":"client_credential","appid":"wx1","secret":"secret1","force_refresh":false}`

// token asks for one, and for how long it lives.
func (c *caller) token() (token string, life int) {
	c.t.Helper()
	answer := c.post(TokenPath, goodCredentials)
	m := regexp.MustCompile(`^\{"access_token":"(` + TokenMark + `[0-9a-f]{120})","expires_in":(\d+)}$`).FindStringSubmatch(answer)
	if m == nil {
		c.t.Fatalf("no token: %s", answer)
	}
	_, _ = fmt.Sscan(m[2], &life)
	return m[1], life
}

func TestTokenIsTheSameForAllUntilItNearsItsEnd(t *testing.T) {
	c := newCaller(t)
	first, life := c.token()
	if life != 7200 {
		t.Errorf("lives %d s", life)
	}
	c.now = c.now.Add(2*time.Hour - 5*time.Minute - time.Second)
	if again, life := c.token(); again != first || life != 301 {
		t.Errorf("five minutes and a second before its end: another, or %d s", life)
	}
	c.now = c.now.Add(time.Second)
	second, life := c.token()
	if second == first || life != 7200 {
		t.Errorf("five minutes before its end: the same, or %d s", life)
	}

	use := func(token string) string {
		return c.post("/wxa/business/getuserphonenumber?access_token="+token, `{"code":"nobody's"}`)
	}
	c.want("the old one in its last minutes", use(first), "40029")
	c.want("the new one", use(second), "40029")
	c.now = c.now.Add(5 * time.Minute)
	c.want("the old one at its end", use(first), "42001")
	c.want("the new one", use(second), "40029")
	c.EndToken()
	c.want("the new one, ended", use(second), "40001")
	if third, _ := c.token(); third == second || c.Tokens() != 3 || c.Seen(TokenPath) != 4 {
		t.Errorf("%d tokens in %d calls", c.Tokens(), c.Seen(TokenPath))
	}
	c.want("none", use(""), "41001")
	c.want("one of nobody's", use(TokenMark), "40001")

	for body, want := range map[string]string{
		`{"grant_type":"client_credential","appid":"wx2","secret":"secret1"}`: "40013",
		`{"grant_type":"client_credential","appid":"wx1","secret":"secret2"}`: "40125",
		`{"grant_type":"client_credential","secret":"secret1"}`:               "41002",
		`{"grant_type":"client_credential","appid":"wx1"}`:                    "41004",
		`{"appid":"wx1","secret":"secret1"}`:                                  "40002",
		`grant_type=client_credential`:                                        "47001",
	} {
		c.want(body, c.post(TokenPath, body), want)
	}
}

func TestPhoneCodesLiveFiveMinutesWorkOnceAndAreOfAUser(t *testing.T) {
	c := newCaller(t)
	token, _ := c.token()
	exchange := func(code, openID string) string {
		return c.post("/wxa/business/getuserphonenumber?access_token="+token, fmt.Sprintf(`{"code":%q,"openid":%q}`, code, openID))
	}
	user := c.NewUser()
	good := fmt.Sprintf(`{"errcode":0,"errmsg":"ok","phone_info":{"phoneNumber":%q,"purePhoneNumber":%q,"countryCode":86,"watermark":{"timestamp":%d,"appid":"wx1"}}}`,
		user.Phone, user.PurePhone, c.now.Unix())
	tap := c.TapPhone(user)
	c.want("another user's", exchange(tap.PhoneCode, "other"), "40029")
	c.want("the first use", exchange(tap.PhoneCode, user.OpenID), good)
	c.want("the second use", exchange(tap.PhoneCode, user.OpenID), "40163")
	c.want("a login code", exchange(tap.Code, ""), "40029")
	tap = c.TapPhone(user)
	c.now = c.now.Add(5*time.Minute + time.Second)
	c.want("after more than five minutes", exchange(tap.PhoneCode, ""), "40029")
	c.KnowPhone("known", user)
	for range 2 {
		if got := exchange("known", ""); !strings.HasPrefix(got, `{"errcode":0,`) {
			t.Errorf("a known code: %s", got)
		}
	}
	if c.Seen(tap.PhoneCode) != 1 || c.Seen("known") != 2 {
		t.Errorf("seen %d and %d times", c.Seen(tap.PhoneCode), c.Seen("known"))
	}
	c.Script("known", Refuse(-1, "system error"))
	c.want("by the script", exchange("known", ""), "-1")
}

func TestWeChatKnowsWhatItSealedForThreeDays(t *testing.T) {
	c := newCaller(t)
	tap := c.SealPhone(c.NewUser())
	sealedAt := c.now
	check := func(hash string) string {
		token, _ := c.token()
		return c.post("/wxa/business/checkencryptedmsg?access_token="+token, fmt.Sprintf(`{"encrypted_msg_hash":%q}`, hash))
	}
	good := fmt.Sprintf(`{"errcode":0,"errmsg":"ok","vaild":true,"create_time":%d}`, sealedAt.Unix())
	c.want("at once", check(Hash(tap.EncryptedData)), good)
	c.want("of another", check(Hash(tap.EncryptedData+"=")), "1")
	c.want("sealed by somebody else", check(Hash(Seal(make([]byte, 16), []byte("text")).EncryptedData)), "1")
	c.want("no hash", check("abc"), "40097")
	c.want("in capitals", check(strings.ToUpper(Hash(tap.EncryptedData))), "40097")
	c.now = sealedAt.Add(3 * 24 * time.Hour)
	c.want("after three days", check(Hash(tap.EncryptedData)), good)
	c.now = c.now.Add(time.Second)
	c.want("after more than three days", check(Hash(tap.EncryptedData)), "1")
	c.want("without a token", c.post("/wxa/business/checkencryptedmsg", `{}`), "41001")
	// WeChat's own example.
	const data = "hsSuSUsePBqSQw2rYMtf9Nvha603xX8f2BMQBcYRoJiMNwOqt/UEhrqekebG5ar0LFNAm5MD4Uz6zorRwiXJwbySJ/FEJHav4NsobBIU1PwdjbJW" +
		"VQLFy7+YFkHB32OnQXWMh6ugW7Dyk2KS5BXp1f5lniKPp1KNLyNLlFlNZ2mgJCJmWvHj5AI7BLpWwoRvqRyZvVXo+9FsWqvBdxmAPA=="
	c.want("the hash", Hash(data), "657edd868c9715a9bebe42b833269a557a48498785397a796f1568c29a200b2c")
}

func TestBodyWithoutLengthIsRefused(t *testing.T) {
	c := newCaller(t)
	for _, path := range []string{TokenPath, "/wxa/business/getuserphonenumber", "/wxa/business/checkencryptedmsg"} {
		r := httptest.NewRequest("POST", path, io.NopCloser(strings.NewReader(goodCredentials)))
		r.ContentLength, r.TransferEncoding = -1, []string{"chunked"}
		w := httptest.NewRecorder()
		c.ServeHTTP(w, r)
		if w.Code != 412 {
			t.Errorf("%s: %d", path, w.Code)
		}
		w = httptest.NewRecorder()
		c.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		if w.Code != 404 {
			t.Errorf("GET %s: %d", path, w.Code)
		}
	}
	w := httptest.NewRecorder()
	c.ServeHTTP(w, httptest.NewRequest("GET", "/cgi-bin/token?grant_type=client_credential&appid=wx1&secret=secret1", nil))
	if w.Code != 404 || c.Tokens() != 0 {
		t.Errorf("the API that ends others' tokens: %d, %d tokens", w.Code, c.Tokens())
	}
}

func TestTapHasTwoShapes(t *testing.T) {
	c := newCaller(t)
	for target, want := range map[string]string{
		"/tap":                  `^\{"code":"0[0-9a-f]{30}w","encryptedData":"[A-Za-z0-9+/]+={0,2}","iv":"[A-Za-z0-9+/]{22}=="}$`,
		"/tap?shape=phone-code": `^\{"phoneCode":"[0-9a-f]{64}","code":"0[0-9a-f]{30}w"}$`,
	} {
		w := httptest.NewRecorder()
		c.ServeHTTP(w, httptest.NewRequest("GET", target, nil))
		if body := w.Body.String(); w.Code != 200 || !regexp.MustCompile(want).MatchString(body) {
			t.Errorf("%s: %d %s", target, w.Code, body)
		}
	}
}
