package wechattest

import (
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"
)

func TestLoginCodesLiveFiveMinutesAndWorkOnce(t *testing.T) {
	now := time.Unix(1790000000, 0)
	s := New("wx1", "secret1", func() time.Time { return now })
	ask := func(query string) (errcode string) {
		w := httptest.NewRecorder()
		s.ServeHTTP(w, httptest.NewRequest("GET", "/sns/jscode2session?"+query, nil))
		if w.Code != 200 || w.Header().Get("Content-Type") != "text/plain" {
			t.Errorf("%s: %d %s", query, w.Code, w.Header().Get("Content-Type"))
		}
		body := w.Body.String()
		if m := regexp.MustCompile(`^\{"errcode":(\d+),"errmsg":"[a-z _]+, rid: [0-9a-f]{8}-[0-9a-f]{8}-[0-9a-f]{8}"}$`).FindStringSubmatch(body); m != nil {
			return m[1]
		}
		if !strings.Contains(body, `"session_key":"`) || !strings.Contains(body, `"openid":"`) {
			t.Errorf("%s: %s", query, body)
		}
		return ""
	}
	exchange := func(code string) string {
		return ask(url.Values{"appid": {"wx1"}, "secret": {"secret1"}, "js_code": {code}, "grant_type": {"authorization_code"}}.Encode())
	}

	user := s.NewUser()
	code := s.Login(user)
	if got := exchange(code); got != "" {
		t.Errorf("the first use: %s", got)
	}
	if got := exchange(code); got != "40163" {
		t.Errorf("the second use: %s", got)
	}
	code = s.Login(user)
	now = now.Add(5 * time.Minute)
	if got := exchange(code); got != "" {
		t.Errorf("after five minutes: %s", got)
	}
	code = s.Login(user)
	now = now.Add(5*time.Minute + time.Second)
	if got := exchange(code); got != "40029" {
		t.Errorf("after more than five minutes: %s", got)
	}
	s.Know("known", user)
	now = now.Add(24 * time.Hour)
	for range 2 {
		if got := exchange("known"); got != "" {
			t.Errorf("a known code: %s", got)
		}
	}

	for query, want := range map[string]string{
		"appid=wx2&secret=secret1&js_code=known&grant_type=authorization_code": "40013",
		"appid=wx1&secret=secret2&js_code=known&grant_type=authorization_code": "40125",
		"secret=secret1&js_code=known&grant_type=authorization_code":           "41002",
		"appid=wx1&js_code=known&grant_type=authorization_code":                "41004",
		"appid=wx1&secret=secret1&grant_type=authorization_code":               "41008",
		"appid=wx1&secret=secret1&js_code=known":                               "40002",
		"appid=wx1&secret=secret1&js_code=other&grant_type=authorization_code": "40029",
	} {
		if got := ask(query); got != want {
			t.Errorf("%s: %q, want %s", query, got, want)
		}
	}
	if s.Seen("known") != 7 {
		t.Errorf("the known code was seen %d times, want 7", s.Seen("known"))
	}
}
