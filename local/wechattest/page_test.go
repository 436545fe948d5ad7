package wechattest

import (
	"bytes"
	"encoding/json/v2"
	"net/http/httptest"
	"regexp"
	"testing"
)

// page is what a page gets. /tap and /login answer with some of the fields.
type page struct{ Code, AppID string }

func (c *caller) page(target string) (p page) {
	c.t.Helper()
	w := httptest.NewRecorder()
	c.ServeHTTP(w, httptest.NewRequest("GET", target, nil))
	if err := json.Unmarshal(w.Body.Bytes(), &p, json.MatchCaseInsensitiveNames(true)); w.Code != 200 || err != nil {
		c.t.Fatalf("%s: got %d %s, error %v, want 200 and JSON", target, w.Code, w.Body, err)
	}
	return p
}

// owner returns the user whom a login code belongs to.
func (c *caller) owner(code string) User {
	c.t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.logins[code] == nil {
		c.t.Fatalf("got no grant for the login code %q, want one", code)
	}
	return c.logins[code].user
}

func TestNamedUserComesBack(t *testing.T) {
	c := newCaller(t)
	tapped := c.page("/tap?user=ada")
	ada := c.owner(tapped.Code)
	for _, target := range []string{"/login?user=ada", "/tap?user=ada", "/tap?user=ada&shape=phone-code"} {
		got := c.page(target)
		user := c.owner(got.Code)
		c.want(target, user.OpenID+" "+user.Phone, ada.OpenID+" "+ada.Phone)
		if got.Code == tapped.Code {
			t.Errorf("%s: got the earlier login code, want a new one", target)
		}
	}
	for _, target := range []string{"/login?user=grace", "/login", "/tap"} {
		if user := c.owner(c.page(target).Code); user.OpenID == ada.OpenID || user.Phone == ada.Phone {
			t.Errorf("%s: got ada's openid or number, want another user's", target)
		}
	}
	if first, second := c.page("/login"), c.page("/login"); c.owner(first.Code).OpenID == c.owner(second.Code).OpenID {
		t.Error("/login twice without a name: got the same user, want two")
	}
}

func TestEachLoginOfANamedUserChangesTheSessionKey(t *testing.T) {
	c := newCaller(t)
	first, other := c.page("/tap?user=ada").Code, c.page("/tap?user=grace").Code
	adas, graces := c.owner(first).SessionKey, c.owner(other).SessionKey
	second := c.page("/login?user=ada").Code
	if key := c.owner(first).SessionKey; bytes.Equal(key, adas) || bytes.Equal(key, c.owner(second).SessionKey) {
		t.Error("the earlier login code: got a session key that opens sealed data, want one that opens none")
	}
	if bytes.Equal(c.owner(second).SessionKey, adas) {
		t.Error("the new login code: got the earlier session key, want another")
	}
	if !bytes.Equal(c.owner(other).SessionKey, graces) {
		t.Error("another user's login code: got another session key, want the same")
	}
}

func TestTapAfterALoginKeepsItsUserAndSessionKey(t *testing.T) {
	c := newCaller(t)
	login := c.page("/login?user=ada").Code
	before := c.owner(login)
	tapped := c.owner(c.page("/tap?code=" + login).Code)
	if after := c.owner(login); !bytes.Equal(after.SessionKey, before.SessionKey) {
		t.Error("the login code: got another session key, want the same")
	}
	if tapped.OpenID != before.OpenID || !bytes.Equal(tapped.SessionKey, before.SessionKey) {
		t.Error("the tap: got another user or session key, want the login's")
	}
	for _, query := range []string{"code=unknown", "code="} {
		w := httptest.NewRecorder()
		c.ServeHTTP(w, httptest.NewRequest("GET", "/tap?"+query, nil))
		if w.Code != 404 {
			t.Errorf("%s: got status %d, want 404", query, w.Code)
		}
	}
}

func TestNamedUserHasAnotherOpenIDInEachMiniProgram(t *testing.T) {
	c := newCaller(t)
	c.AddApp("wx2", "secret2")
	first, second := c.page("/login?user=ada"), c.page("/login?user=ada&appid=wx2")
	c.want("the first mini-program's appid", first.AppID, "wx1")
	c.want("the second mini-program's appid", second.AppID, "wx2")
	if c.owner(first.Code).OpenID == c.owner(second.Code).OpenID {
		t.Error("got the same openid in two mini-programs, want two")
	}
	c.want("the first mini-program by name", c.owner(c.page("/tap?user=ada&appid=wx1").Code).OpenID,
		c.owner(first.Code).OpenID)
	w := httptest.NewRecorder()
	c.ServeHTTP(w, httptest.NewRequest("GET", "/login?user=ada&appid=wx3", nil))
	if w.Code != 404 {
		t.Errorf("an unknown mini-program: got status %d, want 404", w.Code)
	}
}

func TestPagesPostOneOfTheseShapes(t *testing.T) {
	c := newCaller(t)
	for target, want := range map[string]string{
		"/tap": `^\{"code":"0[0-9a-f]{30}w","encryptedData":"[A-Za-z0-9+/]+={0,2}",` +
			`"iv":"[A-Za-z0-9+/]{22}=="}$`,
		"/tap?shape=phone-code": `^\{"phoneCode":"[0-9a-f]{64}","code":"0[0-9a-f]{30}w"}$`,
		"/login":                `^\{"code":"0[0-9a-f]{30}w"}$`,
		"/login?token=a.b.c":    `^\{"code":"0[0-9a-f]{30}w","token":"a\.b\.c"}$`,
	} {
		w := httptest.NewRecorder()
		c.ServeHTTP(w, httptest.NewRequest("GET", target, nil))
		if body := w.Body.String(); w.Code != 200 || !regexp.MustCompile(want).MatchString(body) {
			t.Errorf("%s: got %d %s, want 200 and a match of %s", target, w.Code, body, want)
		}
	}
}
