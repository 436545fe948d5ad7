package appsecret

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	standin "wechat-phone/local/secretstest"
	"wechat-phone/shared/flight"
	"wechat-phone/shared/wechat"
)

// fake is a Secrets Manager that returns text, or err if it is set, after a while.
type fake struct {
	text  string
	err   error
	after time.Duration
	calls atomic.Int32
}

func (f *fake) GetSecretValue(
	ctx context.Context, in *secretsmanager.GetSecretValueInput, _ ...func(*secretsmanager.Options),
) (*secretsmanager.GetSecretValueOutput, error) {
	f.calls.Add(1)
	if *in.SecretId != "id" || in.VersionId != nil || in.VersionStage != nil {
		return nil, errors.New("the request is not for the secret's current version")
	}
	text, err := f.text, f.err
	select {
	case <-time.After(f.after):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if err != nil {
		return nil, err
	}
	return &secretsmanager.GetSecretValueOutput{SecretString: &text}, nil
}

const (
	text1 = `{"appid":"wx0000000000000001","secret":"s1"}`
	text2 = `{"appid":"wx0000000000000001","secret":"s2"}`
)

// only returns the only mini-program of apps, and passes err on.
func only(apps Apps, err error) (wechat.Credentials, error) {
	app, _ := apps.Only()
	return app, err
}

// wantGet checks that Get returns want, as the only mini-program.
func wantGet(t *testing.T, name string, store *Store, want wechat.Credentials) {
	t.Helper()
	if got, err := only(store.Get(t.Context())); err != nil || !got.Equal(want) {
		t.Errorf("%s: Get = %s, %v, want %s with its secret", name, got.AppID, err, want.AppID)
	}
}

// wantCalls checks how often the secret has been fetched.
func wantCalls(t *testing.T, name string, api *fake, want int32) {
	t.Helper()
	if got := api.calls.Load(); got != want {
		t.Errorf("%s: got %d fetches, want %d", name, got, want)
	}
}

// load calls Load, which must succeed.
func load(t *testing.T, store *Store) Apps {
	t.Helper()
	apps, err := store.Load()
	if err != nil {
		t.Fatal(err)
	}
	return apps
}

var (
	app1 = credentials("wx0000000000000001", "s1")
	app2 = credentials("wx0000000000000001", "s2")
)

func TestSecretIsReadAsPeopleTypeIt(t *testing.T) {
	for name, text := range map[string]string{
		"plain":                   `{"appid":"wx0000000000000001","secret":"s1"}`,
		"other fields":            `{"secret":"s1","x":[1],"appid":"wx0000000000000001","Secret":"other","note":null}`,
		"white space in values":   `{"appid":" wx0000000000000001\n","secret":"\t s1\u00a0\r\n"}`,
		"white space around it":   "\n\t {\"appid\":\"wx0000000000000001\",\"secret\":\"s1\"} \n",
		"byte order mark":         "\ufeff" + `{"appid":"wx0000000000000001","secret":"s1"}`,
		"byte order marks within": `{"appid":"\ufeffwx0000000000000001","secret":" \ufeff s1 \ufeff"}`,
	} {
		apps, problem := parse(text)
		if got, ok := apps.Only(); !ok || problem != "" || !got.Equal(app1) {
			t.Errorf("%s: got appid %q, problem %q, want %s with its secret", name, got.AppID, problem, app1.AppID)
		}
	}
}

const appA, appB = "wx000000000000000a", "wx000000000000000b"

func TestSecretMayHoldSeveralMiniPrograms(t *testing.T) {
	for name, text := range map[string]string{
		"plain":       `{"wx000000000000000a":"sa","wx000000000000000b":"sb"}`,
		"white space": "\n{\" wx000000000000000a\\n\":\"\\tsa \",\"\ufeffwx000000000000000b\":\"sb\\u00a0\"}",
	} {
		apps, problem := parse(text)
		a, okA := apps.Find(appA)
		b, okB := apps.Find(appB)
		if problem != "" || !okA || !okB || !a.Equal(credentials(appA, "sa")) || !b.Equal(credentials(appB, "sb")) {
			t.Errorf("%s: got problem %q, found %v and %v, want both", name, problem, okA, okB)
		}
		if _, only := apps.Only(); only {
			t.Errorf("%s: Only = true, want false for two", name)
		}
		if _, ok := apps.Find("wx000000000000000c"); ok {
			t.Errorf("%s: Find = true for an unknown appid, want false", name)
		}
	}
	apps, problem := parse(`{"wx000000000000000a":"","wx000000000000000b":"sb"}`)
	if a, ok := apps.Find(appA); problem != "" || !ok || a.Secret.Reveal() != "" {
		t.Errorf("an empty secret: got problem %q, found %v, want it found with an empty secret", problem, ok)
	}
	if apps, _ := parse(`{"wx000000000000000a":"sa"}`); len(apps.byID) != 1 {
		t.Errorf("one mini-program in the form for several: got %d, want 1", len(apps.byID))
	}
	if apps, problem := parse(many(50)); len(apps.byID) != 50 {
		t.Errorf("50 mini-programs: got %d, problem %q, want 50", len(apps.byID), problem)
	}
}

// many returns a secret's text with n mini-programs.
func many(n int) string {
	var fields []string
	for i := range n {
		fields = append(fields, fmt.Sprintf(`"wx%016x":"s%d"`, i, i))
	}
	return "{" + strings.Join(fields, ",") + "}"
}

func TestMalformedSecretSaysWhatIsWrong(t *testing.T) {
	const (
		badForm = "appid must be wx and 16 lower-case hexadecimal digits"
		badName = "a name that is not an appid, among several mini-programs"
	)
	for _, tt := range []struct{ name, text, want string }{
		{"empty", "", "not a JSON object"},
		{"not JSON", "wx0000000000000001:s1", "not a JSON object"},
		{"null", "null", "not a JSON object"},
		{"an array", `[{"appid":"wx0000000000000001","secret":"s1"}]`, "not a JSON object"},
		{"a string", `"s1"`, "not a JSON object"},
		{"a name twice", `{"appid":"wx0000000000000001","secret":"s1","secret":"s2"}`, "not a JSON object"},
		{"text after it", `{"appid":"wx0000000000000001","secret":"s1"}}`, "not a JSON object"},
		{"truncated", `{"appid":"wx0000000000000001","secret":"s1"`, "not a JSON object"},
		{"no appid", `{"secret":"s1"}`, "appid is missing"},
		{"no secret", `{"appid":"wx0000000000000001"}`, "secret is missing"},
		{"appId", `{"appId":"wx0000000000000001","secret":"s1"}`, "the name appid is spelled differently"},
		{"AppSecret", `{"appid":"wx0000000000000001","AppSecret":"s1"}`, "the name secret is spelled differently"},
		{"SECRET", `{"appid":"wx0000000000000001","SECRET":"s1"}`, "the name secret is spelled differently"},
		{"empty secret", `{"appid":"wx0000000000000001","secret":""}`, "secret is empty"},
		{"blank appid", `{"appid":" \ufeff ","secret":"s1"}`, "appid is empty"},
		{"a malformed appid", `{"appid":"wx1","secret":"s1"}`, badForm},
		{"an appid in upper case", `{"appid":"wx000000000000000A","secret":"s1"}`, badForm},
		{"both forms", `{"appid":"wx0000000000000001","secret":"s1","wx000000000000000a":"sa"}`, "both forms at once"},
		{"an app beside a secret", `{"secret":"s1","wx000000000000000a":"sa"}`, "both forms at once"},
		{"a note among several", `{"wx000000000000000a":"sa","note":"x"}`, badName},
		{"a malformed appid among several", `{"wx000000000000000a":"sa","wx1":"x"}`, badName},
		{"a number among several", `{"wx000000000000000a":"sa","wx000000000000000b":1}`, "a secret is not a string"},
		{"null among several", `{"wx000000000000000a":null}`, "a secret is not a string"},
		{"a name twice, with white space", `{"wx000000000000000a":"sa"," wx000000000000000a":"sb"}`,
			"a name occurs twice"},
		{"51 mini-programs", many(51), "more than 50 mini-programs"},
		{"an empty object", `{}`, "appid is missing"},
		{"a number", `{"appid":"wx0000000000000001","secret":1}`, "secret is not a string"},
		{"null secret", `{"appid":"wx0000000000000001","secret":null}`, "secret is not a string"},
	} {
		if _, problem := parse(tt.text); problem != tt.want {
			t.Errorf("%s: got problem %q, want %q", tt.name, problem, tt.want)
		}
	}
}

func TestConcurrentCallersShareOneFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := &fake{text: text1, after: time.Second}
		store := New(api, "id", time.Now)
		var all sync.WaitGroup
		for range 1000 {
			all.Go(func() { wantGet(t, "one of 1000", store, app1) })
		}
		all.Wait()
		wantCalls(t, "1000 callers", api, 1)
	})
}

func TestNobodyWaitsLongerThanTwoSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := &fake{text: text1, after: time.Hour}
		store := New(api, "id", time.Now)
		began := time.Now()
		_, err := store.Get(t.Context())
		e, ok := errors.AsType[*Error](err)
		if took := time.Since(began); !ok || *e != (Error{true, "timeout"}) || took != 2*time.Second {
			t.Errorf("got %v after %v, want a timeout after 2 s", err, took)
		}

		time.Sleep(time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		began = time.Now()
		_, err = store.Get(ctx)
		e, ok = errors.AsType[*Error](err)
		if took := time.Since(began); !ok || !e.Temporary || took != 300*time.Millisecond {
			t.Errorf("a context of 300 ms: got %v after %v, want a temporary error after 300 ms", err, took)
		}
		time.Sleep(2 * time.Second) // until the fetch has ended
	})
}

func TestFailureIsRememberedForOneSecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := &fake{err: errors.New("broken")}
		now := time.Now()
		store := New(api, "id", func() time.Time { return now })
		for _, step := range []struct {
			wait  time.Duration
			calls int32
		}{{0, 1}, {0, 1}, {999 * time.Millisecond, 1}, {time.Millisecond, 2}, {0, 2}} {
			now = now.Add(step.wait)
			if _, err := only(store.Get(t.Context())); err == nil || api.calls.Load() != step.calls {
				t.Errorf("%v later: got %v after %d fetches, want an error after %d",
					step.wait, err, api.calls.Load(), step.calls)
			}
		}
		now = now.Add(-time.Hour) // somebody sets the clock back
		if _, err := only(store.Get(t.Context())); err == nil || api.calls.Load() != 3 {
			t.Errorf("before the failure: got %v after %d fetches, want an error after 3", err, api.calls.Load())
		}
		api.err, api.text = nil, text1
		now = now.Add(time.Second)
		wantGet(t, "after Secrets Manager recovered", store, app1)
		now = now.Add(time.Hour)
		wantGet(t, "an hour later", store, app1)
		wantCalls(t, "an hour later", api, 4)
	})
}

func TestFirstRequestRetriesAFailedStart(t *testing.T) {
	for name, api := range map[string]*fake{
		"a failure": {err: errors.New("broken")}, "a timeout": {after: time.Hour},
	} {
		synctest.Test(t, func(t *testing.T) {
			store := New(api, "id", time.Now)
			if _, err := store.Load(); err == nil {
				t.Errorf("%s: Load = nil, want an error", name)
			}
			api.err, api.text, api.after = nil, text1, 0
			wantGet(t, "after "+name, store, app1)
		})
	}
}

// freezeDuringFetch returns a store whose fetch takes as long as api says. It gives
// up on the fetch after a while, and then lets 10 seconds pass on the store's clock
// alone, as in a frozen process.
func freezeDuringFetch(t *testing.T, api *fake, giveUp time.Duration) *Store {
	t.Helper()
	var frozen atomic.Int64
	store := New(api, "id", func() time.Time { return time.Now().Add(time.Duration(frozen.Load())) })
	ctx, cancel := context.WithTimeout(t.Context(), giveUp)
	defer cancel()
	if _, err := store.Get(ctx); err == nil {
		t.Error("Get = nil during the fetch, want an error")
	}
	synctest.Wait()
	frozen.Store(int64(10 * time.Second))
	return store
}

func TestLateFetchDoesNotReplaceANewerOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := &fake{text: text1, after: 1900 * time.Millisecond}
		store := freezeDuringFetch(t, api, 100*time.Millisecond)
		api.text, api.after = text2, 0
		wantGet(t, "after the newer fetch", store, app2)
		time.Sleep(flight.Timeout)
		wantGet(t, "after the older fetch", store, app2)
	})
}

func TestLateFailureDoesNotAffectANewerFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := &fake{text: text1, after: time.Hour}
		store := freezeDuringFetch(t, api, 200*time.Millisecond)
		api.after = flight.Timeout - 50*time.Millisecond
		go func() { _, _ = store.Get(t.Context()) }()
		// By then the first fetch has failed, and the second takes 100 ms more.
		time.Sleep(flight.Timeout - 150*time.Millisecond)
		wantGet(t, "during the second fetch", store, app1)
		wantCalls(t, "after the second fetch", api, 2)
	})
}

// A request gives up on a fetch, and Lambda freezes the process. It resumes the
// process with the next event, long after the fetch should have ended.
func TestFetchFromBeforeAFreezeIsIgnoredAfterIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := &fake{text: text1, after: time.Hour}
		store := freezeDuringFetch(t, api, 100*time.Millisecond)
		api.after = 0
		wantGet(t, "while the old fetch still hangs", store, app1)
		time.Sleep(flight.Timeout)
		wantGet(t, "after the old fetch failed", store, app1)
		wantCalls(t, "after the old fetch failed", api, 2)
	})
}

func TestFetchThatFailsRightAfterAFreezeIsIgnored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := &fake{text: text1, after: time.Hour}
		store := freezeDuringFetch(t, api, 100*time.Millisecond)
		api.after = 0
		time.Sleep(flight.Timeout)
		wantGet(t, "right after the old fetch failed", store, app1)
	})
}

func TestRejectedCredentialsAreRereadAtMostOnceIn30Seconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := &fake{text: text1}
		store := New(api, "id", time.Now)
		load(t, store)
		refresh := func(rejected, want wechat.Credentials, calls int32) {
			t.Helper()
			got, err := store.Refresh(t.Context(), rejected)
			if err != nil || !got.Equal(want) || api.calls.Load() != calls {
				t.Errorf("Refresh = secret %s, %v after %d fetches, want %s after %d",
					got.Secret.Reveal(), err, api.calls.Load(), want.Secret.Reveal(), calls)
			}
		}
		refresh(app1, app1, 2) // the first fetch was not a re-read
		refresh(app1, app1, 2)
		time.Sleep(30*time.Second - time.Millisecond)
		api.text = text2
		refresh(app1, app1, 2)
		time.Sleep(time.Millisecond)
		refresh(app1, app2, 3)
		refresh(app1, app2, 3) // older than the cached ones
		refresh(app2, app2, 3)
		wantGet(t, "after the re-read", store, app2)
		time.Sleep(30 * time.Second)
		refresh(app1, app2, 3) // old credentials cause no re-read, however late
		api.text = text1
		refresh(app2, app1, 4)
	})
}

func TestConcurrentRejectionsShareOneReread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := &fake{text: text1}
		store := New(api, "id", time.Now)
		load(t, store)
		api.text, api.after = text2, time.Second
		var all sync.WaitGroup
		for range 100 {
			all.Go(func() {
				if got, err := store.Refresh(t.Context(), app1); err != nil || !got.Equal(app2) {
					t.Errorf("Refresh = secret %s, %v, want the new secret", got.Secret.Reveal(), err)
				}
			})
		}
		all.Wait()
		wantCalls(t, "100 rejections", api, 2)
	})
}

func TestFailedRereadIsRememberedAndKeepsTheOldCredentials(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := &fake{text: text1}
		store := New(api, "id", time.Now)
		load(t, store)
		api.err = errors.New("broken")
		for range 3 {
			if _, err := store.Refresh(t.Context(), app1); err == nil {
				t.Error("Refresh = nil for a broken re-read, want an error")
			}
			time.Sleep(9 * time.Second)
		}
		wantGet(t, "after the broken re-read", store, app1)
		wantCalls(t, "after the broken re-read", api, 2)
		api.err, api.text = nil, text2
		time.Sleep(3 * time.Second)
		if got, err := store.Refresh(t.Context(), app1); err != nil || !got.Equal(app2) {
			t.Errorf("Refresh after 30 s = secret %s, %v, want the new secret", got.Secret.Reveal(), err)
		}
	})
}

// setAWS sets the environment variables that the SDK needs.
func setAWS(t *testing.T) {
	t.Helper()
	t.Setenv("AWS_ACCESS_KEY_ID", "made-up")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "made-up")
	t.Setenv("AWS_REGION", "us-east-1")
}

func fault(status int, code string) http.HandlerFunc { return standin.Fault(status, code, "canary") }

func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

// resetWithinAnswer resets the connection in the middle of the body.
func resetWithinAnswer(w http.ResponseWriter, _ *http.Request) {
	c, out, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	_, _ = out.WriteString("HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{\"SecretString\":\"canary")
	_ = out.Flush()
	time.Sleep(20 * time.Millisecond)
	_ = c.(*net.TCPConn).SetLinger(0)
	_ = c.Close()
}

// This test uses the SDK's own client.
func TestSecretsManagerAnswersAreClassified(t *testing.T) {
	setAWS(t)
	t.Setenv("AWS_MAX_ATTEMPTS", "1")
	secrets := &standin.Server{}
	server := httptest.NewServer(secrets)
	defer server.Close()
	t.Setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", server.URL)
	loaded, err := config.LoadDefaultConfig(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	loaded.Logger = nil
	arn := secrets.Put("name", text1)
	secrets.PutBinary("binary", []byte(text1))
	secrets.Put("malformed", "canary")
	for _, tt := range answerTests(arn) {
		secrets.Fail(tt.fault)
		got, err := only(New(secretsmanager.NewFromConfig(loaded), tt.id, time.Now).Get(t.Context()))
		if tt.want == (Error{}) {
			if err != nil || !got.Equal(app1) {
				t.Errorf("%s: got %s, %v, want %s with its secret", tt.name, got.AppID, err, app1.AppID)
			}
			continue
		}
		if e, ok := errors.AsType[*Error](err); !ok || *e != tt.want {
			t.Errorf("%s: got %+v, want %+v", tt.name, err, tt.want)
		}
		if err != nil && strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: got %v, want nothing of the answer", tt.name, err)
		}
	}
}

// answerTest is an answer of Secrets Manager and the error for it, if any.
type answerTest struct {
	name, id string
	fault    http.HandlerFunc
	want     Error
}

func answerTests(arn string) []answerTest {
	return []answerTest{
		{"by name", "name", nil, Error{}},
		{"by ARN", arn, nil, Error{}},
		{"missing", "other", nil, Error{Reason: "ResourceNotFoundException"}},
		{"binary", "binary", nil, Error{Reason: "malformed: binary"}},
		{"malformed", "malformed", nil, Error{Reason: "malformed: not a JSON object"}},
		{"denied", "name", fault(400, "AccessDeniedException"), Error{Reason: "AccessDeniedException"}},
		{"to be deleted", "name", fault(400, "InvalidRequestException"), Error{Reason: "InvalidRequestException"}},
		{"key disabled", "name", fault(400, "DecryptionFailure"), Error{Reason: "DecryptionFailure"}},
		{"token expired", "name", fault(400, "ExpiredTokenException"), Error{Reason: "ExpiredTokenException"}},
		{"a long code", "name", fault(400, strings.Repeat("A", 65)), Error{Reason: "unknown"}},
		{"a limit", "name", fault(400, "RequestLimitExceeded"), Error{true, "RequestLimitExceeded"}},
		{"an odd code", "name", fault(400, "canary <&> "), Error{Reason: "unknown"}},
		{"not an AWS error", "name", status(403), Error{Reason: "UnknownError"}},
		{"HTML", "name", func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, "<html>canary")
		}, Error{Reason: "unknown"}},
		{"throttled", "name", fault(400, "ThrottlingException"), Error{true, "ThrottlingException"}},
		{"too many requests", "name", fault(400, "TooManyRequestsException"), Error{true, "TooManyRequestsException"}},
		{"status 429", "name", fault(429, "Slow"), Error{true, "Slow"}},
		{"failing", "name", fault(500, "InternalServiceError"), Error{true, "InternalServiceError"}},
		{"overloaded", "name", status(503), Error{true, "UnknownError"}},
		{"hanging up", "name", func(http.ResponseWriter, *http.Request) {
			panic(http.ErrAbortHandler)
		}, Error{true, "connection closed"}},
		{"half an answer", "name", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "500")
			fmt.Fprint(w, `{"SecretString":"canary`)
		}, Error{true, "connection closed"}},
		{"a reset within the answer", "name", resetWithinAnswer, Error{true, "connection reset"}},
	}
}

// The SDK retries until the deadline. The reason is still the network failure, not
// the deadline.
func TestUnreachableSecretsManagerIsClassified(t *testing.T) {
	setAWS(t)
	closed := httptest.NewServer(nil)
	closed.Close()
	unknown := httptest.NewUnstartedServer(nil)
	unknown.Config.ErrorLog = log.New(io.Discard, "", 0)
	unknown.StartTLS()
	t.Cleanup(unknown.Close)
	plain := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(plain.Close)
	silent := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // otherwise the server would not notice that the client has gone
		<-r.Context().Done()
	}))
	t.Cleanup(silent.Close)
	for _, attempts := range []string{"1", "50"} {
		t.Setenv("AWS_MAX_ATTEMPTS", attempts)
		for _, tt := range []struct{ name, url, want string }{
			{"refused", closed.URL, "connection refused"},
			{"no such host", "http://secretsmanager.invalid", "dns"},
			{"an unknown certificate", unknown.URL, "tls: certificate"},
			{"no TLS", strings.Replace(plain.URL, "http", "https", 1), "tls: protocol"},
			{"silence", silent.URL, "timeout"},
		} {
			t.Run(tt.name+", attempts "+attempts, func(t *testing.T) {
				loaded, err := config.LoadDefaultConfig(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				endpoint := func(o *secretsmanager.Options) { o.BaseEndpoint = &tt.url }
				api := secretsmanager.NewFromConfig(loaded, endpoint)
				t.Parallel()
				_, err = only(New(api, "name", time.Now).Get(t.Context()))
				if e, ok := errors.AsType[*Error](err); !ok || *e != (Error{true, tt.want}) {
					t.Errorf("Get = %v, want %s", err, tt.want)
				}
			})
		}
	}
}

// If Secrets Manager fails or throttles until the deadline, the error says so, even if the
// deadline cuts off a retry.
func TestFailureUntilTheDeadlineIsNotATimeout(t *testing.T) {
	setAWS(t)
	t.Setenv("AWS_MAX_ATTEMPTS", "50")
	loaded, err := config.LoadDefaultConfig(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	throttled := standin.Fault(400, "ThrottlingException", "canary")
	var first sync.Once
	for _, tt := range []struct {
		name, want string
		fault      http.HandlerFunc
	}{
		{"throttled", "status 400", throttled},
		{"failed", "status 500", standin.Fault(500, "InternalServiceError", "canary")},
		{"throttled, then silent", "status 400", func(w http.ResponseWriter, r *http.Request) {
			silent := true
			first.Do(func() { silent = false; throttled(w, r) })
			if silent {
				_, _ = io.Copy(io.Discard, r.Body) // otherwise the server would not notice that the client has gone
				<-r.Context().Done()
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(tt.fault)
			defer server.Close()
			api := secretsmanager.NewFromConfig(loaded, func(o *secretsmanager.Options) { o.BaseEndpoint = &server.URL })
			_, err := New(api, "name", time.Now).Get(t.Context())
			if e, ok := errors.AsType[*Error](err); !ok || *e != (Error{true, tt.want}) {
				t.Errorf("Get = %v, want %s", err, tt.want)
			}
		})
	}
}

// A broken mini-program must not delay another's rotation. An unknown appid, which
// anybody can name, must delay neither.
func TestRereadsAreLimitedForEachPurpose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := &fake{text: `{"wx000000000000000a":"sa","wx000000000000000b":"sb"}`}
		store := New(api, "id", time.Now)
		load(t, store)
		refresh := func(rejected wechat.Credentials, want string, calls int32) {
			t.Helper()
			got, err := store.Refresh(t.Context(), rejected)
			if err != nil || !got.Equal(credentials(rejected.AppID, want)) || api.calls.Load() != calls {
				t.Errorf("Refresh(%s) = %s, %v after %d fetches, want %s after %d",
					rejected.AppID, got.Secret.Reveal(), err, api.calls.Load(), want, calls)
			}
		}
		discover := func(calls int32) {
			t.Helper()
			if _, err := store.Discover(t.Context()); err != nil || api.calls.Load() != calls {
				t.Errorf("Discover = %v after %d fetches, want no error after %d", err, api.calls.Load(), calls)
			}
		}
		refresh(credentials(appA, "sa"), "sa", 2)
		refresh(credentials(appA, "sa"), "sa", 2)
		api.text = `{"wx000000000000000a":"sa","wx000000000000000b":"new"}`
		refresh(credentials(appB, "sb"), "new", 3) // at once, although appA has just caused a re-read
		discover(4)
		discover(4)
		time.Sleep(rereadEvery)
		discover(5)
		refresh(credentials(appA, "sa"), "sa", 6)
	})
}

func TestRemovedMiniProgramKeepsItsCredentials(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := &fake{text: text1}
		store := New(api, "id", time.Now)
		load(t, store)
		api.text = `{"wx000000000000000a":"sa"}`
		if got, err := store.Refresh(t.Context(), app1); err != nil || !got.Equal(app1) {
			t.Errorf("Refresh of a removed mini-program = %s, %v, want the same credentials", got.AppID, err)
		}
	})
}

func TestDiscoverFailsTemporarily(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := &fake{text: text1}
		store := New(api, "id", time.Now)
		load(t, store)
		api.text = "garbage"
		_, err := store.Discover(t.Context())
		if e, ok := errors.AsType[*Error](err); !ok || !e.Temporary {
			t.Errorf("Discover of a malformed secret = %v, want a temporary error", err)
		}
		wantGet(t, "after the failure", store, app1)
	})
}

func TestEmptySecretIsRereadAndAffectsNoOtherMiniProgram(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := &fake{text: `{"wx000000000000000a":"","wx000000000000000b":"sb"}`}
		store := New(api, "id", time.Now)
		apps := load(t, store)
		a, _ := apps.Find(appA)
		b, _ := apps.Find(appB)
		for range 2 {
			_, err := store.Usable(t.Context(), a)
			if e, ok := errors.AsType[*Error](err); !ok || e.Temporary {
				t.Errorf("Usable without a secret = %v, want a lasting *Error", err)
			}
			wantCalls(t, "without a secret", api, 2)
		}
		if got, err := store.Usable(t.Context(), b); err != nil || !got.Equal(b) {
			t.Errorf("Usable of the other mini-program = %s, %v, want it unchanged", got.AppID, err)
		}
		wantCalls(t, "the other mini-program", api, 2)
		api.text = `{"wx000000000000000a":"sa","wx000000000000000b":"sb"}`
		time.Sleep(rereadEvery)
		if got, err := store.Usable(t.Context(), a); err != nil || got.Secret.Reveal() != "sa" {
			t.Errorf("Usable after the secret was set = %v, want it with the new secret", err)
		}
	})
}
