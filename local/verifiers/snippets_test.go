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
	Value jsontext.Value `json:"value"`
	Error string         `json:"error"`
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
		if o := authenticate(token, "phone"); o.Error != "" {
			return errors.New(o.Error)
		}
		return nil
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
	if o := authenticate(silent, "phone"); !strings.Contains(o.Error, "scope") {
		t.Errorf("a silent login for the scope phone: got %q, want it refused for its scope", o.Error)
	}
	if o := authenticate("", "openid"); o.Error == "" || strings.Contains(o.Error, "scope") {
		t.Errorf("no token: got %q, want it refused for another reason than its scope", o.Error)
	}
}

func TestNodeOfThePageChecksTokens(t *testing.T) {
	i := newIssuer(t)
	call := i.start(t, exec.Command("node", "node/call.mjs", extract(t, "auth.mjs"), "authenticate"),
		"TOKEN_ISSUER="+i.TLS.URL, "APPIDS="+stage.SecondAppID+","+stage.AppID)
	i.checkSnippet(t, func(token, scope string) outcome {
		return read(t, call([]any{"Bearer " + token, scope}))
	}, forgery.UnusedBits, forgery.Padded, forgery.Standard, forgery.LineBreak, forgery.Space)
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
		_ = out.Encode(map[string]any{"error": text, "value": map[string]string{
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
	call := i.start(t, exec.Command(program, i.TLS.URL, stage.AppID))
	i.checkSnippet(t, func(token, scope string) outcome {
		return read(t, call([]any{"Bearer " + token, scope}))
	}, forgery.UnusedBits, forgery.LineBreak, forgery.Space)
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
		RequestID string `json:"requestId"`
	} `json:"body"`
}

func TestBackendOfThePagePassesEverythingOn(t *testing.T) {
	i := &issuer{Issuer: rig.RaiseIssuer(t, func(c *stage.Config) { c.Several = true })}
	call := i.start(t, exec.Command("node", "node/call.mjs", extract(t, "phone.mjs"), "exchange"),
		"PHONE_URL="+i.URL+"/phone", "APPID="+stage.SecondAppID)
	exchange := func(tap any) (p passed) {
		if o := read(t, call([]any{tap})); o.Error != "" || json.Unmarshal(o.Value, &p) != nil {
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
	for name, tap := range map[string]any{"a phone code": tap, "sealed data": sealed} {
		p := exchange(tap)
		if p.Status != http.StatusOK || p.Body.OpenID != u.OpenID || p.Body.Phone != number {
			t.Errorf("%s: got %+v, want 200, the user's openid and number", name, p)
		}
	}
	for name, tt := range map[string]struct {
		tap  wechattest.PhoneTap
		want string
	}{
		"used codes": {tap, "400 code_rejected login "},
		"a limit":    {limited, "429 rate_limited wait 60"},
	} {
		p := exchange(tt.tap)
		got := fmt.Sprint(p.Status, " ", p.Body.Error, " ", p.Body.Action, " ", p.Headers["retry-after"])
		if got != tt.want || p.Body.RequestID != p.Headers["x-request-id"] {
			t.Errorf("%s: got %s, want %s, and one request id", name, got, tt.want)
		}
	}
}
