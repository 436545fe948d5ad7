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

// caller calls a [Server] and controls its clock.
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

var errcode = regexp.MustCompile(
	`^\{"errcode":(-?\d+),"errmsg":"[a-z_ ,]+, rid: [0-9a-f]{8}-[0-9a-f]{8}-[0-9a-f]{8}"}$`)

// post returns the answer's errcode, or the whole answer if it has none.
func (c *caller) post(target, body string) string {
	c.t.Helper()
	w := httptest.NewRecorder()
	c.ServeHTTP(w, httptest.NewRequest("POST", target, strings.NewReader(body)))
	if w.Code != 200 || w.Header().Get("Content-Type") != "text/plain" {
		c.t.Errorf("%s: got %d %s, want 200 text/plain", target, w.Code, w.Header().Get("Content-Type"))
	}
	if m := errcode.FindStringSubmatch(w.Body.String()); m != nil {
		return m[1]
	}
	return w.Body.String()
}

func (c *caller) want(name, got, want string) {
	c.t.Helper()
	if got != want {
		c.t.Errorf("%s: got %q, want %q", name, got, want)
	}
}

const goodCredentials = `{"grant_type":"client_credential","appid":"wx1","secret":"secret1","force_refresh":false}`

var tokenAnswer = regexp.MustCompile(
	`^\{"access_token":"(` + TokenMark + `[0-9a-f]{120})","expires_in":(\d+)}$`)

// token fetches the access token. life is in seconds.
func (c *caller) token() (token string, life int) {
	c.t.Helper()
	answer := c.post(TokenPath, goodCredentials)
	m := tokenAnswer.FindStringSubmatch(answer)
	if m == nil {
		c.t.Fatalf("got %s, want an access token", answer)
	}
	_, _ = fmt.Sscan(m[2], &life)
	return m[1], life
}

func TestTokenIsTheSameUntilShortlyBeforeItExpires(t *testing.T) {
	c := newCaller(t)
	first, life := c.token()
	if life != 7200 {
		t.Errorf("the first token: got a life of %d s, want 7200", life)
	}
	c.now = c.now.Add(2*time.Hour - 5*time.Minute - time.Second)
	if again, life := c.token(); again != first || life != 301 {
		t.Errorf("301 s before it expires: got the same token %v, life %d s, want true, 301", again == first, life)
	}
	c.now = c.now.Add(time.Second)
	second, life := c.token()
	if second == first || life != 7200 {
		t.Errorf("300 s before it expires: got the same token %v, life %d s, want false, 7200", second == first, life)
	}

	use := func(token string) string {
		return c.post("/wxa/business/getuserphonenumber?access_token="+token, `{"code":"unknown"}`)
	}
	c.want("the first token in its last minutes", use(first), "40029")
	c.want("the second token", use(second), "40029")
	c.now = c.now.Add(5 * time.Minute)
	c.want("the first token, expired", use(first), "42001")
	c.want("the second token", use(second), "40029")
	c.EndToken()
	c.want("the second token, revoked", use(second), "40001")
	if third, _ := c.token(); third == second || c.Tokens() != 3 || c.Seen(TokenPath) != 4 {
		t.Errorf("after it was revoked: got the same token %v, %d tokens in %d calls, want false, 3 in 4",
			third == second, c.Tokens(), c.Seen(TokenPath))
	}
	c.want("no token", use(""), "41001")
	c.want("an unknown token", use(TokenMark), "40001")
}

func TestTokenNeedsCredentials(t *testing.T) {
	c := newCaller(t)
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

func TestPhoneCodesLiveFiveMinutesWorkOnceAndBelongToAUser(t *testing.T) {
	c := newCaller(t)
	token, _ := c.token()
	exchange := func(code, openID string) string {
		return c.post("/wxa/business/getuserphonenumber?access_token="+token,
			fmt.Sprintf(`{"code":%q,"openid":%q}`, code, openID))
	}
	user := c.NewUser()
	good := fmt.Sprintf(`{"errcode":0,"errmsg":"ok","phone_info":{"phoneNumber":%q,"purePhoneNumber":%q,`+
		`"countryCode":86,"watermark":{"timestamp":%d,"appid":"wx1"}}}`,
		user.Phone, user.PurePhone, c.now.Unix())
	tap := c.TapPhone(user)
	c.want("another user's code", exchange(tap.PhoneCode, "other"), "40029")
	c.want("the first use", exchange(tap.PhoneCode, user.OpenID), good)
	c.want("the second use", exchange(tap.PhoneCode, user.OpenID), "40163")
	c.want("a login code", exchange(tap.Code, ""), "40029")
	tap = c.TapPhone(user)
	c.now = c.now.Add(5*time.Minute + time.Second)
	c.want("after more than five minutes", exchange(tap.PhoneCode, ""), "40029")
	c.KnowPhone("known", user)
	for range 2 {
		if got, want := exchange("known", ""), `{"errcode":0,`; !strings.HasPrefix(got, want) {
			t.Errorf("a known code: got %s, want it to begin with %s", got, want)
		}
	}
	if c.Seen(tap.PhoneCode) != 1 || c.Seen("known") != 2 {
		t.Errorf("got %d and %d calls with the codes, want 1 and 2", c.Seen(tap.PhoneCode), c.Seen("known"))
	}
	c.Script("known", Refuse(-1, "system error"))
	c.want("a scripted answer", exchange("known", ""), "-1")
}

func TestSealedDataIsKnownForThreeDays(t *testing.T) {
	c := newCaller(t)
	tap := c.SealPhone(c.NewUser())
	sealedAt := c.now
	check := func(hash string) string {
		token, _ := c.token()
		return c.post("/wxa/business/checkencryptedmsg?access_token="+token,
			fmt.Sprintf(`{"encrypted_msg_hash":%q}`, hash))
	}
	good := fmt.Sprintf(`{"errcode":0,"errmsg":"ok","vaild":true,"create_time":%d}`, sealedAt.Unix())
	c.want("at once", check(Hash(tap.EncryptedData)), good)
	c.want("the hash of other data", check(Hash(tap.EncryptedData+"=")), "1")
	c.want("data sealed by somebody else", check(Hash(Seal(make([]byte, 16), []byte("text")).EncryptedData)), "1")
	c.want("not a hash", check("abc"), "40097")
	c.want("a hash in upper case", check(strings.ToUpper(Hash(tap.EncryptedData))), "40097")
	c.now = sealedAt.Add(3 * 24 * time.Hour)
	c.want("after three days", check(Hash(tap.EncryptedData)), good)
	c.now = c.now.Add(time.Second)
	c.want("after more than three days", check(Hash(tap.EncryptedData)), "1")
	c.want("without a token", c.post(CheckPath, `{}`), "41001")
}

// The example is WeChat's own.
func TestHashMatchesWeChatsExample(t *testing.T) {
	const data = "hsSuSUsePBqSQw2rYMtf9Nvha603xX8f2BMQBcYRoJiMNwOqt/UEhrqekebG5ar0LFNAm5MD4Uz6zorRwiXJwbySJ/FEJHav4N" +
		"sobBIU1PwdjbJWVQLFy7+YFkHB32OnQXWMh6ugW7Dyk2KS5BXp1f5lniKPp1KNLyNLlFlNZ2mgJCJmWvHj5AI7BLpWwoRvqRyZvVXo" +
		"+9FsWqvBdxmAPA=="
	const want = "657edd868c9715a9bebe42b833269a557a48498785397a796f1568c29a200b2c"
	if got := Hash(data); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestBodyWithoutLengthIsRefused(t *testing.T) {
	c := newCaller(t)
	for _, path := range []string{TokenPath, PhonePath, CheckPath} {
		r := httptest.NewRequest("POST", path, io.NopCloser(strings.NewReader(goodCredentials)))
		r.ContentLength, r.TransferEncoding = -1, []string{"chunked"}
		w := httptest.NewRecorder()
		c.ServeHTTP(w, r)
		if w.Code != 412 {
			t.Errorf("%s without a length: got status %d, want 412", path, w.Code)
		}
	}
}

// The function must never call /cgi-bin/token, which revokes other callers' tokens.
func TestOtherCallsAreNotFound(t *testing.T) {
	c := newCaller(t)
	for _, target := range []string{
		TokenPath, PhonePath, CheckPath,
		"/cgi-bin/token?grant_type=client_credential&appid=wx1&secret=secret1",
	} {
		w := httptest.NewRecorder()
		c.ServeHTTP(w, httptest.NewRequest("GET", target, nil))
		if w.Code != 404 || c.Tokens() != 0 {
			t.Errorf("GET %s: got status %d, %d tokens, want 404, none", target, w.Code, c.Tokens())
		}
	}
}
