package wechattest

import (
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"
)

// get asks for a session. It returns the errcode, or "" if there is a session.
func (c *caller) get(query string) string {
	c.t.Helper()
	w := httptest.NewRecorder()
	c.ServeHTTP(w, httptest.NewRequest("GET", "/sns/jscode2session?"+query, nil))
	if w.Code != 200 || w.Header().Get("Content-Type") != "text/plain" {
		c.t.Errorf("%s: got %d %s, want 200 text/plain", query, w.Code, w.Header().Get("Content-Type"))
	}
	body := w.Body.String()
	if m := loginErrcode.FindStringSubmatch(body); m != nil {
		return m[1]
	}
	if !strings.Contains(body, `"session_key":"`) || !strings.Contains(body, `"openid":"`) {
		c.t.Errorf("%s: got %s, want a session_key and an openid", query, body)
	}
	return ""
}

var loginErrcode = regexp.MustCompile(
	`^\{"errcode":(\d+),"errmsg":"[a-z _]+, rid: [0-9a-f]{8}-[0-9a-f]{8}-[0-9a-f]{8}"}$`)

func TestLoginCodesLiveFiveMinutesAndWorkOnce(t *testing.T) {
	c := newCaller(t)
	exchange := func(code string) string {
		t.Helper()
		return c.get(url.Values{
			"appid": {"wx1"}, "secret": {"secret1"}, "js_code": {code}, "grant_type": {"authorization_code"},
		}.Encode())
	}
	user := c.NewUser()
	code := c.Login(user)
	c.want("the first use", exchange(code), "")
	c.want("the second use", exchange(code), "40163")
	code = c.Login(user)
	c.now = c.now.Add(5 * time.Minute)
	c.want("after five minutes", exchange(code), "")
	code = c.Login(user)
	c.now = c.now.Add(5*time.Minute + time.Second)
	c.want("after more than five minutes", exchange(code), "40029")
	c.Know("known", user)
	c.now = c.now.Add(24 * time.Hour)
	for range 2 {
		c.want("a known code", exchange("known"), "")
	}
	if got := c.Seen("known"); got != 2 {
		t.Errorf("the known code: got %d calls, want 2", got)
	}
}

func TestLoginChecksEveryParameter(t *testing.T) {
	c := newCaller(t)
	c.Know("known", c.NewUser())
	for query, want := range map[string]string{
		"appid=wx2&secret=secret1&js_code=known&grant_type=authorization_code": "40013",
		"appid=wx1&secret=secret2&js_code=known&grant_type=authorization_code": "40125",
		"secret=secret1&js_code=known&grant_type=authorization_code":           "41002",
		"appid=wx1&js_code=known&grant_type=authorization_code":                "41004",
		"appid=wx1&secret=secret1&grant_type=authorization_code":               "41008",
		"appid=wx1&secret=secret1&js_code=known":                               "40002",
		"appid=wx1&secret=secret1&js_code=other&grant_type=authorization_code": "40029",
	} {
		c.want(query, c.get(query), want)
	}
	if got := c.Seen("known"); got != 5 {
		t.Errorf("the known code: got %d calls, want 5", got)
	}
}
