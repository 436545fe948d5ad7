package verifiers

import (
	"context"
	"encoding/json/jsontext"
	"encoding/json/v2"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"wechat-phone/local/authorizer"
	"wechat-phone/local/forgery"
	"wechat-phone/local/hostile"
	"wechat-phone/local/lambdatest"
	"wechat-phone/local/rig"
	"wechat-phone/local/stage"
	"wechat-phone/local/wechattest"
)

const exampleDir = "../../examples/backend"

// exampleTemplate is the part of examples/backend/template.yaml that these tests deploy.
// Short forms such as !Ref are read as their arguments.
type exampleTemplate struct {
	Resources struct {
		API struct {
			Properties struct {
				Auth struct {
					DefaultAuthorizer string `yaml:"DefaultAuthorizer"`
					Authorizers       map[string]struct {
						Configuration struct {
							Issuer   string `yaml:"issuer"`
							Audience []any  `yaml:"audience"`
						} `yaml:"JwtConfiguration"`
					} `yaml:"Authorizers"`
				} `yaml:"Auth"`
			} `yaml:"Properties"`
		} `yaml:"Api"`
		Function struct {
			Properties struct {
				Code    string `yaml:"CodeUri"`
				Handler string `yaml:"Handler"`
				Events  map[string]struct {
					Properties struct {
						Method string `yaml:"Method"`
						Path   string `yaml:"Path"`
						Auth   struct {
							Scopes []string `yaml:"AuthorizationScopes"`
						} `yaml:"Auth"`
					} `yaml:"Properties"`
				} `yaml:"Events"`
			} `yaml:"Properties"`
		} `yaml:"BackendFunction"`
	} `yaml:"Resources"`
}

// deployExample deploys the example as its template says: node runs the handler, and the
// stand-in authorizer is in front of each route. The mini-programs are the parameter AppIDs.
func (i *issuer) deployExample(t *testing.T, appIDs ...string) http.Handler {
	t.Helper()
	var template exampleTemplate
	text, err := os.ReadFile(filepath.Join(exampleDir, "template.yaml"))
	if err == nil {
		err = yaml.Unmarshal(text, &template)
	}
	if err != nil {
		t.Fatal(err)
	}
	auth, function := template.Resources.API.Properties.Auth, template.Resources.Function.Properties
	configuration := auth.Authorizers[auth.DefaultAuthorizer].Configuration
	if got := fmt.Sprint(configuration.Issuer, configuration.Audience); got != "TokenIssuer[, AppIDs]" {
		t.Fatalf("the authorizer: got %s, want the issuer TokenIssuer, and AppIDs split at commas", got)
	}
	module, export, _ := strings.Cut(function.Handler, ".")
	file, err := filepath.Abs(filepath.Join(exampleDir, function.Code, module+".mjs"))
	if err != nil {
		t.Fatal(err)
	}
	handler := i.start(t, exec.Command("node", "node/call.mjs", file, export))
	api := http.NewServeMux()
	for _, event := range function.Events {
		route := event.Properties.Method + " " + event.Properties.Path
		a, err := authorizer.Create(authorizer.Config{
			Issuer: i.TLS.URL, Audience: appIDs, Scopes: event.Properties.Auth.Scopes, Now: time.Now,
			Transport: i.TLS.Client().Transport, Consumer: withClaims(route, handler),
		})
		if err != nil {
			t.Fatal(err)
		}
		api.Handle(route, a)
	}
	return api
}

// withClaims is the route's integration. It puts the claims into the handler's event, as
// the gateway does.
func withClaims(route string, handler func(line any) jsontext.Value) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		invoke := func(_ context.Context, event []byte) ([]byte, error) {
			var fields map[string]any
			if err := json.Unmarshal(event, &fields); err != nil {
				return nil, err
			}
			fields["requestContext"].(map[string]any)["authorizer"] = map[string]any{
				"jwt": map[string]any{"claims": authorizer.Claims(r)},
			}
			var answer struct {
				Value jsontext.Value `json:"value"`
				Error string         `json:"error"`
			}
			err := json.Unmarshal(handler([]any{fields}), &answer)
			if err == nil && answer.Error != "" {
				err = errors.New(answer.Error)
			}
			return answer.Value, err
		}
		gateway := &lambdatest.Gateway{Routes: []string{route}, Invoke: invoke}
		gateway.ServeHTTP(w, r)
	})
}

// login logs in without a tap, as a page with an earlier token, or with none, does.
func (i *issuer) login(u wechattest.User, earlier string) (token string) {
	login := wechattest.PageLogin{Code: i.Login(u), Token: earlier, AppID: u.AppID}
	return i.Send("POST", "/login", "application/json", hostile.JSON(login)).Token
}

func TestExampleBackendKnowsItsUsers(t *testing.T) {
	i := &issuer{Issuer: rig.RaiseIssuer(t, func(c *stage.Config) { c.Several = true })}
	first, second, foreign := rig.NewUser(), rig.NewUser(), rig.NewUser()
	first.AppID, first.UnionID, second.AppID, foreign.AppID = stage.AppID, "oUnion", stage.SecondAppID, stage.SecondAppID
	second.OpenID = first.OpenID
	both, one := i.deployExample(t, stage.AppID, stage.SecondAppID), i.deployExample(t, stage.AppID)
	tapped := i.PostPhone(i.TapBoth(first)).Token
	const refused, noPhone = `401 {"message":"Unauthorized"}`, `403 {"message":"Forbidden"}`
	for _, tt := range []struct {
		name            string
		api             http.Handler
		token           string
		wantMe, wantAll string // of GET /me and of GET /orders
	}{
		{"after a tap", one, tapped, me(first, true), orders(first, tapped)},
		{"renewed", one, i.login(first, tapped), me(first, true), orders(first, tapped)},
		{"without a tap", one, i.login(first, ""), me(first, false), noPhone},
		{"the second mini-program's user with the same openid", both, i.login(second, ""), me(second, false), noPhone},
		{"another mini-program's", one, i.PostPhone(i.TapBoth(foreign)).Token, refused, refused},
		{"changed", one, tapped[:len(tapped)-1], refused, refused},
		{"none", one, "", refused, refused},
	} {
		if got := get(tt.api, "/me", tt.token); got != tt.wantMe {
			t.Errorf("%s: got %s from /me, want %s", tt.name, got, tt.wantMe)
		}
		if got := get(tt.api, "/orders", tt.token); got != tt.wantAll {
			t.Errorf("%s: got %s from /orders, want %s", tt.name, got, tt.wantAll)
		}
	}
}

// get returns the status and the body of an answer.
func get(api http.Handler, path, token string) string {
	r := httptest.NewRequest(http.MethodGet, path, nil)
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	w := httptest.NewRecorder()
	api.ServeHTTP(w, r)
	return fmt.Sprintf("%d %s", w.Code, strings.TrimSpace(w.Body.String()))
}

func me(u wechattest.User, withPhone bool) string {
	text := fmt.Sprintf(`200 {"user":"%s/%s"`, u.AppID, u.OpenID)
	if u.UnionID != "" {
		text += fmt.Sprintf(`,"unionid":%q`, u.UnionID)
	}
	if withPhone {
		text += fmt.Sprintf(`,"phone":"+%s%s"`, u.CountryCode, u.PurePhone)
	}
	return text + "}"
}

// orders has the time of verification from a token.
func orders(u wechattest.User, token string) string {
	at := time.Unix(int64(forgery.Payload(token)["phone_number_verified_at"].(float64)), 0).UTC()
	return fmt.Sprintf(`200 {"user":"%s/%s","phone":"+%s%s","verifiedAt":%q,"orders":[]}`,
		u.AppID, u.OpenID, u.CountryCode, u.PurePhone, at.Format("2006-01-02T15:04:05.000Z"))
}
