package verifiers

import (
	"encoding/json/jsontext"
	"encoding/json/v2"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"wechat-phone/local/forgery"
	"wechat-phone/local/rig"
	"wechat-phone/local/stage"
	"wechat-phone/local/wechattest"
)

// extract writes the code block of docs/backend.md that begins with the file's name into
// that file, in a new folder. Node finds its packages there. docs/checks compares the
// Chinese page.
func extract(t *testing.T, name string) (file string) {
	t.Helper()
	text, err := os.ReadFile("../../docs/backend.md")
	if err != nil {
		t.Fatal(err)
	}
	block := regexp.MustCompile("(?s)```[a-z]+\n(// " + regexp.QuoteMeta(name) + `\b.*?)` + "```").FindSubmatch(text)
	if block == nil {
		t.Fatalf("got no code block for %s, want one", name)
	}
	dir := t.TempDir()
	packages, err := filepath.Abs("node/node_modules")
	if err == nil {
		err = os.Symlink(packages, filepath.Join(dir, "node_modules"))
	}
	file = filepath.Join(dir, name)
	if err == nil {
		err = os.WriteFile(file, block[1], 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// outcome is what a snippet returned or threw.
type outcome struct {
	Value  jsontext.Value `json:"value"`
	Error  string         `json:"error"`
	Status int            `json:"status"` // to answer; 0 is 401
}

func read(t *testing.T, line jsontext.Value) (o outcome) {
	t.Helper()
	if err := json.Unmarshal(line, &o); err != nil {
		t.Fatalf("got the line %s, want an outcome", line)
	}
	return o
}

// checkSnippet presents a token with scope phone, one without, and every forgery.
func (i *issuer) checkSnippet(t *testing.T, authenticate func(token, scope string) outcome, respelled ...string) {
	t.Helper()
	i.check(t, func(token string) error {
		o := authenticate(token, "phone")
		if o.Error == "" {
			return nil
		}
		if o.Status != 0 {
			t.Errorf("a forgery: got the status %d for %q, want 401", o.Status, o.Error)
		}
		return errors.New(o.Error)
	}, append(respelled, forgery.FutureIssue)...) // only a leaked key can sign such a token
	var got struct {
		AppID  string `json:"client_id"`
		OpenID string `json:"sub"`
		Phone  string `json:"phone_number"`
	}
	want := forgery.Payload(i.good)
	o := authenticate(i.good, "phone")
	if json.Unmarshal(o.Value, &got) != nil || got.AppID != stage.AppID || got.OpenID != want["sub"] ||
		got.Phone != want["phone_number"] {
		t.Errorf("got the claims %s, want those of the token", o.Value)
	}
	silent := i.login(rig.NewUser(), "")
	if o := authenticate(silent, "openid"); o.Error != "" {
		t.Errorf("a silent login for the scope openid: got %s, want it accepted", o.Error)
	}
	if o := authenticate(silent, "phone"); !strings.Contains(o.Error, "scope") || o.Status != http.StatusForbidden {
		t.Errorf("a silent login for the scope phone: got %q, status %d, want it refused for its scope, 403",
			o.Error, o.Status)
	}
	if o := authenticate("", "openid"); o.Error == "" || strings.Contains(o.Error, "scope") || o.Status != 0 {
		t.Errorf("no token: got %q, status %d, want it refused, but not for its scope, 401", o.Error, o.Status)
	}
}

// checkUnreachable presents a good token to a program that has no keys yet, while the
// issuer cannot be reached. The answer must not be a refusal: the page drops a token that
// is refused.
func (i *issuer) checkUnreachable(t *testing.T, authenticate func(token, scope string) outcome) {
	t.Helper()
	authenticate("", "openid") // the program has started
	i.TLS.Close()
	if o := authenticate(i.good, "phone"); o.Error == "" || o.Status != http.StatusServiceUnavailable {
		t.Errorf("without the issuer: got %q, status %d, want 503", o.Error, o.Status)
	}
	if o := authenticate("", "phone"); o.Error == "" || o.Status != 0 {
		t.Errorf("no token, without the issuer: got %q, status %d, want 401", o.Error, o.Status)
	}
}

func TestNodeOfThePageChecksTokens(t *testing.T) {
	i := newIssuer(t)
	file := extract(t, "auth.mjs")
	start := func() func(token, scope string) outcome {
		call := i.start(t, exec.Command("node", "node/call.mjs", file, "authenticate"),
			"TOKEN_ISSUER="+i.TLS.URL, "APPIDS="+stage.SecondAppID+","+stage.AppID)
		return func(token, scope string) outcome { return read(t, call([]any{"Bearer " + token, scope})) }
	}
	i.checkSnippet(t, start(), forgery.UnusedBits, forgery.Padded, forgery.Standard, forgery.LineBreak, forgery.Space)
	i.checkUnreachable(t, start())
}

// goDriver calls the page's functions as node/call.mjs does.
const goDriver = `package main

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"os"
)

func main() {
	verifier, err := newVerifier(context.Background(), os.Args[1], os.Args[2])
	if err != nil {
		panic(err)
	}
	in, out := bufio.NewScanner(os.Stdin), json.NewEncoder(os.Stdout)
	for in.Scan() {
		var arguments [2]string
		if err := json.Unmarshal(in.Bytes(), &arguments); err != nil {
			panic(err)
		}
		r, _ := http.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set("Authorization", arguments[0])
		c, err := authenticate(verifier, r, arguments[1])
		text := ""
		if err != nil {
			text = "denied: " + err.Error()
		}
		status := map[error]int{errScope: http.StatusForbidden, errKeys: http.StatusServiceUnavailable}[err]
		_ = out.Encode(map[string]any{"error": text, "status": status, "value": map[string]string{
			"client_id": c.AppID, "sub": c.OpenID, "phone_number": c.Phone,
		}})
	}
}
`

func TestGoOfThePageChecksTokens(t *testing.T) {
	i := newIssuer(t)
	file := extract(t, "auth.go")
	driver := filepath.Join(filepath.Dir(file), "main.go")
	if err := os.WriteFile(driver, []byte(goDriver), 0o600); err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(filepath.Dir(file), "program")
	if out, err := exec.Command("go", "build", "-o", program, file, driver).CombinedOutput(); err != nil {
		t.Fatalf("got %v, want the code to compile\n%s", err, out)
	}
	start := func() func(token, scope string) outcome {
		call := i.start(t, exec.Command(program, i.TLS.URL, stage.AppID))
		return func(token, scope string) outcome { return read(t, call([]any{"Bearer " + token, scope})) }
	}
	i.checkSnippet(t, start(), forgery.UnusedBits, forgery.LineBreak, forgery.Space)
	i.checkUnreachable(t, start())
}

// passed is what the page's exchange returns.
type passed struct {
	Status  int               `json:"status"`
	Headers map[string]string `json:"headers"`
	Body    struct {
		OpenID    string `json:"openid"`
		Phone     string `json:"e164"`
		Error     string `json:"error"`
		Action    string `json:"action"`
		Token     string `json:"token"`
		Renewed   bool   `json:"renewed"`
		RequestID string `json:"requestId"`
	} `json:"body"`
}

func TestBackendOfThePagePassesEverythingOn(t *testing.T) {
	i := &issuer{Issuer: rig.RaiseIssuer(t, func(c *stage.Config) { c.Several = true })}
	call := i.start(t, exec.Command("node", "node/call.mjs", extract(t, "phone.mjs"), "exchange"),
		"PHONE_URL="+i.URL+"/phone", "APPID="+stage.SecondAppID)
	exchange := func(route string, posted any) (p passed) {
		if o := read(t, call([]any{route, posted})); o.Error != "" || json.Unmarshal(o.Value, &p) != nil {
			t.Fatalf("got %s, %s, want an answer", o.Error, o.Value)
		}
		if p.Headers["cache-control"] != "no-store" || !rig.IsRequestID(p.Headers["x-request-id"]) ||
			!strings.HasPrefix(p.Headers["content-type"], "application/json") {
			t.Errorf("%d: got the headers %v, want the function's", p.Status, p.Headers)
		}
		return p
	}
	u := rig.NewUser()
	u.AppID = stage.SecondAppID
	number := "+" + u.CountryCode + u.PurePhone
	tap, sealed, limited := i.TapBoth(u), i.Tap(u), i.TapBoth(u)
	i.WeChat.Script(limited.Code, wechattest.Refuse(45011, "api minute-quota reach limit"))
	tap.AppID, sealed.AppID, limited.AppID = "", "", ""
	tokens := map[string]string{}
	for name, tap := range map[string]any{"a phone code": tap, "sealed data": sealed} {
		p := exchange("phone", tap)
		if p.Status != http.StatusOK || p.Body.OpenID != u.OpenID || p.Body.Phone != number {
			t.Errorf("%s: got %+v, want 200, the user's openid and number", name, p)
		}
		tokens[name] = p.Body.Token
	}
	again := exchange("login", wechattest.PageLogin{Code: i.Login(u), Token: tokens["a phone code"]})
	if again.Status != http.StatusOK || again.Body.Phone != number || !again.Body.Renewed {
		t.Errorf("a login: got %+v, want 200 and a renewed token with the user's number", again)
	}
	for name, tt := range map[string]struct {
		tap  wechattest.PhoneTap
		want string
	}{
		"used codes": {tap, "400 code_rejected login "},
		"a limit":    {limited, "429 rate_limited wait 60"},
	} {
		p := exchange("phone", tt.tap)
		got := fmt.Sprint(p.Status, " ", p.Body.Error, " ", p.Body.Action, " ", p.Headers["retry-after"])
		if got != tt.want || p.Body.RequestID != p.Headers["x-request-id"] {
			t.Errorf("%s: got %s, want %s, and one request id", name, got, tt.want)
		}
	}
}
