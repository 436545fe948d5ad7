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

// fake answers with text, or fails where err is set, after a while.
type fake struct {
	text  string
	err   error
	after time.Duration
	calls atomic.Int32
}

func (f *fake) GetSecretValue(ctx context.Context, in *secretsmanager.GetSecretValueInput, _ ...func(*secretsmanager.Options)) (*secretsmanager.GetSecretValueOutput, error) {
	f.calls.Add(1)
	if *in.SecretId != "id" || in.VersionId != nil || in.VersionStage != nil {
		return nil, errors.New("not asked for the current version of the secret")
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

const text1, text2 = `{"appid":"wx0000000000000001","secret":"s1"}`, `{"appid":"wx0000000000000001","secret":"s2"}`

// only is the one mini-program that a Store gives.
func only(apps Apps, err error) (wechat.Credentials, error) {
	app, _ := apps.Only()
	return app, err
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
			t.Errorf("%s: got appid %q, problem %q, want none", name, got.AppID, problem)
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
			t.Errorf("%s: problem %q, found %v and %v, want both", name, problem, okA, okB)
		}
		if _, only := apps.Only(); only {
			t.Errorf("%s: Only reports one of two", name)
		}
		if _, ok := apps.Find("wx000000000000000c"); ok {
			t.Errorf("%s: found a mini-program that is not there", name)
		}
	}
	apps, problem := parse(`{"wx000000000000000a":"","wx000000000000000b":"sb"}`)
	if a, ok := apps.Find(appA); problem != "" || !ok || a.Secret.Reveal() != "" {
		t.Errorf("an empty secret among several: problem %q, found %v, want it without a secret", problem, ok)
	}
	if apps, _ := parse(`{"wx000000000000000a":"sa"}`); len(apps.byID) != 1 {
		t.Errorf("one in the form of several: got %d, want 1", len(apps.byID))
	}
	if apps, problem := parse(many(50)); len(apps.byID) != 50 {
		t.Errorf("50 mini-programs: got %d, problem %q", len(apps.byID), problem)
	}
}

// many is a secret of n mini-programs.
func many(n int) string {
	var fields []string
	for i := range n {
		fields = append(fields, fmt.Sprintf(`"wx%016x":"s%d"`, i, i))
	}
	return "{" + strings.Join(fields, ",") + "}"
}

func TestMalformedSecretSaysWhatIsWrong(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"empty", "", "not a JSON object"},
		{"no JSON", "wx0000000000000001:s1", "not a JSON object"},
		{"null", "null", "not a JSON object"},
		{"an array", `[{"appid":"wx0000000000000001","secret":"s1"}]`, "not a JSON object"},
		{"a string", `"s1"`, "not a JSON object"},
		{"a name twice", `{"appid":"wx0000000000000001","secret":"s1","secret":"s2"}`, "not a JSON object"},
		{"text after it", `{"appid":"wx0000000000000001","secret":"s1"}}`, "not a JSON object"},
		{"cut short", `{"appid":"wx0000000000000001","secret":"s1"`, "not a JSON object"},
		{"no appid", `{"secret":"s1"}`, "appid is missing"},
		{"no secret", `{"appid":"wx0000000000000001"}`, "secret is missing"},
		{"appId", `{"appId":"wx0000000000000001","secret":"s1"}`, "the name appid is spelled in another way"},
		{"AppSecret", `{"appid":"wx0000000000000001","AppSecret":"s1"}`, "the name secret is spelled in another way"},
		{"SECRET", `{"appid":"wx0000000000000001","SECRET":"s1"}`, "the name secret is spelled in another way"},
		{"empty secret", `{"appid":"wx0000000000000001","secret":""}`, "secret is empty"},
		{"blank appid", `{"appid":" \ufeff ","secret":"s1"}`, "appid is empty"},
		{"an appid of another form", `{"appid":"wx1","secret":"s1"}`, "appid must be wx and 16 lower-case hexadecimal digits"},
		{"an appid in upper case", `{"appid":"wx000000000000000A","secret":"s1"}`, "appid must be wx and 16 lower-case hexadecimal digits"},
		{"both forms", `{"appid":"wx0000000000000001","secret":"s1","wx000000000000000a":"sa"}`, "both forms at once"},
		{"an app beside a secret", `{"secret":"s1","wx000000000000000a":"sa"}`, "both forms at once"},
		{"a note among several", `{"wx000000000000000a":"sa","note":"x"}`, "a name that is not an appid, among several mini-programs"},
		{"an appid of another form among several", `{"wx000000000000000a":"sa","wx1":"x"}`, "a name that is not an appid, among several mini-programs"},
		{"a number among several", `{"wx000000000000000a":"sa","wx000000000000000b":1}`, "a secret is not a string"},
		{"null among several", `{"wx000000000000000a":null}`, "a secret is not a string"},
		{"a name twice but for white space", `{"wx000000000000000a":"sa"," wx000000000000000a":"sb"}`, "a name occurs twice"},
		{"51 mini-programs", many(51), "more than 50 mini-programs"},
		{"an empty object", `{}`, "appid is missing"},
		{"a number", `{"appid":"wx0000000000000001","secret":1}`, "secret is not a string"},
		{"null secret", `{"appid":"wx0000000000000001","secret":null}`, "secret is not a string"},
	} {
		if _, problem := parse(tt.text); problem != tt.want {
			t.Errorf("%s: problem %q, want %q", tt.name, problem, tt.want)
		}
	}
}

func TestConcurrentCallersShareOneFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := &fake{text: text1, after: time.Second}
		store := New(api, "id", time.Now)
		var all sync.WaitGroup
		for range 1000 {
			all.Go(func() {
				if got, err := only(store.Get(t.Context())); err != nil || !got.Equal(app1) {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if calls := api.calls.Load(); calls != 1 {
			t.Errorf("%d fetches", calls)
		}
	})
}

func TestNobodyWaitsLongerThanTwoSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := &fake{text: text1, after: time.Hour}
		store := New(api, "id", time.Now)
		began := time.Now()
		_, err := only(store.Get(t.Context()))
		if e, ok := errors.AsType[*Error](err); !ok || !e.Temporary || e.Reason != "timeout" || time.Since(began) != 2*time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}

		time.Sleep(time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		began = time.Now()
		_, err = only(store.Get(ctx))
		if e, ok := errors.AsType[*Error](err); !ok || !e.Temporary || time.Since(began) != 300*time.Millisecond {
			t.Errorf("with a context of 300 ms: %v after %v", err, time.Since(began))
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
				t.Errorf("%v later: %d fetches, want %d, %v", step.wait, api.calls.Load(), step.calls, err)
			}
		}
		now = now.Add(-time.Hour) // the clock was set back
		if _, err := only(store.Get(t.Context())); err == nil || api.calls.Load() != 3 {
			t.Errorf("before the failure: %d fetches, %v", api.calls.Load(), err)
		}
		api.err, api.text = nil, text1
		now = now.Add(time.Second)
		if got, err := only(store.Get(t.Context())); err != nil || !got.Equal(app1) {
			t.Errorf("after Secrets Manager healed: %v", err)
		}
		now = now.Add(time.Hour)
		if _, err := only(store.Get(t.Context())); err != nil || api.calls.Load() != 4 {
			t.Errorf("an hour later: %d fetches, %v", api.calls.Load(), err)
		}
	})
}

func TestFirstRequestRetriesAFailedStart(t *testing.T) {
	for name, api := range map[string]*fake{"that broke": {err: errors.New("broken")}, "that timed out": {after: time.Hour}} {
		synctest.Test(t, func(t *testing.T) {
			store := New(api, "id", time.Now)
			if _, err := only(store.Load()); err == nil {
				t.Error("no error from a start", name)
			}
			api.err, api.text, api.after = nil, text1, 0
			if got, err := only(store.Get(t.Context())); err != nil || !got.Equal(app1) {
				t.Errorf("the first request after a start %s: %v", name, err)
			}
		})
	}
}

// The answer of a fetch that was given up comes last, and is the older one.
func TestLateFetchDoesNotReplaceANewerOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := &fake{text: text1, after: 1900 * time.Millisecond}
		var frozen atomic.Int64
		store := New(api, "id", func() time.Time { return time.Now().Add(time.Duration(frozen.Load())) })
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		_, _ = only(store.Get(ctx))
		synctest.Wait()
		frozen.Store(int64(10 * time.Second))
		api.text, api.after = text2, 0
		if got, err := only(store.Get(t.Context())); err != nil || !got.Equal(app2) {
			t.Errorf("the newer fetch: %v", err)
		}
		time.Sleep(flight.Timeout)
		if got, err := only(store.Get(t.Context())); err != nil || !got.Equal(app2) {
			t.Errorf("the older answer has replaced the newer one: %v", err)
		}
	})
}

func TestLateFailureDoesNotAffectANewerFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := &fake{text: text1, after: time.Hour}
		var frozen atomic.Int64
		store := New(api, "id", func() time.Time { return time.Now().Add(time.Duration(frozen.Load())) })
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		_, _ = only(store.Get(ctx))
		synctest.Wait()
		frozen.Store(int64(10 * time.Second))
		api.after = flight.Timeout - 50*time.Millisecond
		go func() { _, _ = only(store.Get(t.Context())) }()
		time.Sleep(flight.Timeout - 150*time.Millisecond) // the first has failed, the second runs for 100 ms more
		if got, err := only(store.Get(t.Context())); err != nil || !got.Equal(app1) || api.calls.Load() != 2 {
			t.Errorf("%v, %d fetches", err, api.calls.Load())
		}
	})
}

// A request gives up on a fetch, Lambda freezes the process, and thaws it with
// the next event when the fetch is long past its time.
func TestFetchFromBeforeAFreezeIsIgnoredAfterIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := &fake{text: text1, after: time.Hour}
		var frozen atomic.Int64
		now := func() time.Time { return time.Now().Add(time.Duration(frozen.Load())) }
		store := New(api, "id", now)
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if _, err := only(store.Get(ctx)); err == nil {
			t.Error("got credentials of a hanging Secrets Manager")
		}
		synctest.Wait()
		frozen.Store(int64(10 * time.Second))
		api.after = 0
		if got, err := only(store.Get(t.Context())); err != nil || !got.Equal(app1) {
			t.Errorf("while the old fetch still hangs: %v", err)
		}
		time.Sleep(flight.Timeout) // until it has failed
		if got, err := only(store.Get(t.Context())); err != nil || !got.Equal(app1) || api.calls.Load() != 2 {
			t.Errorf("after the old fetch failed: %v, %d fetches", err, api.calls.Load())
		}

		// The same, but the old fetch fails before the next event is handled.
		api.after = time.Hour
		frozen.Store(0)
		store = New(api, "id", now)
		ctx, cancel = context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		_, _ = only(store.Get(ctx))
		synctest.Wait()
		frozen.Store(int64(10 * time.Second))
		api.after = 0
		time.Sleep(flight.Timeout)
		if got, err := only(store.Get(t.Context())); err != nil || !got.Equal(app1) {
			t.Errorf("right after the old fetch failed: %v", err)
		}
	})
}

func TestRejectedCredentialsAreRereadAtMostOnceIn30Seconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := &fake{text: text1}
		store := New(api, "id", time.Now)
		if _, err := only(store.Load()); err != nil {
			t.Fatal(err)
		}
		refresh := func(rejected, want wechat.Credentials, calls int32) {
			t.Helper()
			got, err := store.Refresh(t.Context(), rejected)
			if err != nil || !got.Equal(want) || api.calls.Load() != calls {
				t.Errorf("%v, secret as wanted: %v, %d fetches, want %d", err, got.Equal(want), api.calls.Load(), calls)
			}
		}
		refresh(app1, app1, 2) // the first load was no re-read
		refresh(app1, app1, 2)
		time.Sleep(30*time.Second - time.Millisecond)
		api.text = text2
		refresh(app1, app1, 2)
		time.Sleep(time.Millisecond)
		refresh(app1, app2, 3)
		refresh(app1, app2, 3) // older than the cached ones
		refresh(app2, app2, 3)
		if got, err := only(store.Get(t.Context())); err != nil || !got.Equal(app2) {
			t.Errorf("the fresh ones are not kept: %v", err)
		}
		time.Sleep(30 * time.Second)
		refresh(app1, app2, 3) // older ones cause no reading, however late
		api.text = text1
		refresh(app2, app1, 4)
	})
}

func TestConcurrentRejectionsShareOneReread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := &fake{text: text1}
		store := New(api, "id", time.Now)
		if _, err := only(store.Load()); err != nil {
			t.Fatal(err)
		}
		api.text, api.after = text2, time.Second
		var all sync.WaitGroup
		for range 100 {
			all.Go(func() {
				if got, err := store.Refresh(t.Context(), app1); err != nil || !got.Equal(app2) {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if calls := api.calls.Load(); calls != 2 {
			t.Errorf("%d fetches", calls)
		}
	})
}

func TestFailedRereadIsRememberedAndKeepsTheOldCredentials(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := &fake{text: text1}
		store := New(api, "id", time.Now)
		if _, err := only(store.Load()); err != nil {
			t.Fatal(err)
		}
		api.err = errors.New("broken")
		for range 3 {
			if _, err := store.Refresh(t.Context(), app1); err == nil {
				t.Error("no error from a broken re-read")
			}
			time.Sleep(9 * time.Second)
		}
		if got, err := only(store.Get(t.Context())); err != nil || !got.Equal(app1) || api.calls.Load() != 2 {
			t.Errorf("%v, %d fetches", err, api.calls.Load())
		}
		api.err, api.text = nil, text2
		time.Sleep(3 * time.Second)
		if got, err := store.Refresh(t.Context(), app1); err != nil || !got.Equal(app2) {
			t.Errorf("after 30 s: %v", err)
		}
	})
}

// The SDK's own client, against answers as AWS gives them.
func TestSecretsManagerAnswersAreClassified(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "made-up")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "made-up")
	t.Setenv("AWS_REGION", "us-east-1")
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
	arn := secrets.Put("name", `{"appid":"wx0000000000000001","secret":"s1"}`)
	secrets.PutBinary("binary", []byte(text1))
	secrets.Put("malformed", "canary")

	aws := func(status int, code string) http.HandlerFunc { return standin.Fault(status, code, "canary") }
	tests := []struct {
		name, id string
		fault    http.HandlerFunc
		want     Error
	}{
		{"by name", "name", nil, Error{}},
		{"by ARN", arn, nil, Error{}},
		{"missing", "other", nil, Error{Reason: "ResourceNotFoundException"}},
		{"binary", "binary", nil, Error{Reason: "malformed: binary"}},
		{"malformed", "malformed", nil, Error{Reason: "malformed: not a JSON object"}},
		{"denied", "name", aws(400, "AccessDeniedException"), Error{Reason: "AccessDeniedException"}},
		{"to be deleted", "name", aws(400, "InvalidRequestException"), Error{Reason: "InvalidRequestException"}},
		{"key disabled", "name", aws(400, "DecryptionFailure"), Error{Reason: "DecryptionFailure"}},
		{"token expired", "name", aws(400, "ExpiredTokenException"), Error{Reason: "ExpiredTokenException"}},
		{"a long code", "name", aws(400, strings.Repeat("A", 65)), Error{Reason: "unknown"}},
		{"a limit", "name", aws(400, "RequestLimitExceeded"), Error{true, "RequestLimitExceeded"}},
		{"an odd code", "name", aws(400, "canary <&> "), Error{Reason: "unknown"}},
		{"no AWS error", "name", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(403) }, Error{Reason: "UnknownError"}},
		{"HTML", "name", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>canary") }, Error{Reason: "unknown"}},
		{"throttled", "name", aws(400, "ThrottlingException"), Error{true, "ThrottlingException"}},
		{"throttled otherwise", "name", aws(400, "TooManyRequestsException"), Error{true, "TooManyRequestsException"}},
		{"status 429", "name", aws(429, "Slow"), Error{true, "Slow"}},
		{"failing", "name", aws(500, "InternalServiceError"), Error{true, "InternalServiceError"}},
		{"overloaded", "name", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) }, Error{true, "UnknownError"}},
		{"hanging up", "name", func(w http.ResponseWriter, _ *http.Request) { panic(http.ErrAbortHandler) }, Error{true, "connection closed"}},
		{"half an answer", "name", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "500")
			fmt.Fprint(w, `{"SecretString":"canary`)
		}, Error{true, "connection closed"}},
		{"a reset within the answer", "name", func(w http.ResponseWriter, _ *http.Request) {
			c, out, err := http.NewResponseController(w).Hijack()
			if err != nil {
				return
			}
			_, _ = out.WriteString("HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{\"SecretString\":\"canary")
			_ = out.Flush()
			time.Sleep(20 * time.Millisecond)
			_ = c.(*net.TCPConn).SetLinger(0)
			_ = c.Close()
		}, Error{true, "connection reset"}},
	}
	for _, tt := range tests {
		secrets.Fail(tt.fault)
		_, err := only(New(secretsmanager.NewFromConfig(loaded), tt.id, time.Now).Get(t.Context()))
		if tt.want == (Error{}) {
			if err != nil {
				t.Errorf("%s: %v", tt.name, err)
			}
			continue
		}
		e, ok := errors.AsType[*Error](err)
		if !ok || *e != tt.want {
			t.Errorf("%s: %+v, want %+v", tt.name, err, tt.want)
		}
		if err != nil && strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: the error holds what was answered", tt.name)
		}
	}

}

// The SDK retries until the deadline. The reason is still what kept it from
// Secrets Manager, as for WeChat.
func TestUnreachableSecretsManagerIsClassified(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "made-up")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "made-up")
	t.Setenv("AWS_REGION", "us-east-1")
	closed := httptest.NewServer(nil)
	closed.Close()
	unknown := httptest.NewUnstartedServer(nil)
	unknown.Config.ErrorLog = log.New(io.Discard, "", 0)
	unknown.StartTLS()
	t.Cleanup(unknown.Close)
	plain := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(plain.Close)
	silent := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // or the server would not notice that the client has gone
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
				api := secretsmanager.NewFromConfig(loaded, func(o *secretsmanager.Options) { o.BaseEndpoint = &tt.url })
				t.Parallel()
				_, err = only(New(api, "name", time.Now).Get(t.Context()))
				if e, ok := errors.AsType[*Error](err); !ok || *e != (Error{true, tt.want}) {
					t.Errorf("Get = %v, want %s", err, tt.want)
				}
			})
		}
	}
}

// One mini-program that is broken must not delay the rotation of another, and
// nobody may use up either by naming an appid that does not exist.
func TestRereadsAreLimitedForEachPurpose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := &fake{text: `{"wx000000000000000a":"sa","wx000000000000000b":"sb"}`}
		store := New(api, "id", time.Now)
		if _, err := store.Load(); err != nil {
			t.Fatal(err)
		}
		refresh := func(rejected wechat.Credentials, want string, calls int32) {
			t.Helper()
			got, err := store.Refresh(t.Context(), rejected)
			if err != nil || got.AppID != rejected.AppID || got.Secret.Reveal() != want || api.calls.Load() != calls {
				t.Errorf("Refresh(%s) = %s, %v after %d reads, want %s after %d",
					rejected.AppID, got.Secret.Reveal(), err, api.calls.Load(), want, calls)
			}
		}
		discover := func(calls int32) {
			t.Helper()
			if _, err := store.Discover(t.Context()); err != nil || api.calls.Load() != calls {
				t.Errorf("Discover = %v after %d reads, want %d", err, api.calls.Load(), calls)
			}
		}
		refresh(credentials(appA, "sa"), "sa", 2)
		refresh(credentials(appA, "sa"), "sa", 2)
		api.text = `{"wx000000000000000a":"sa","wx000000000000000b":"new"}`
		refresh(credentials(appB, "sb"), "new", 3) // at once, though a was read for just now
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
		if _, err := store.Load(); err != nil {
			t.Fatal(err)
		}
		api.text = `{"wx000000000000000a":"sa"}`
		if got, err := store.Refresh(t.Context(), app1); err != nil || !got.Equal(app1) {
			t.Errorf("Refresh of one that is gone = %s, %v, want the same credentials", got.AppID, err)
		}
	})
}

func TestDiscoverFailsTemporarily(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := &fake{text: text1}
		store := New(api, "id", time.Now)
		if _, err := store.Load(); err != nil {
			t.Fatal(err)
		}
		api.text = "garbage"
		_, err := store.Discover(t.Context())
		if e, ok := errors.AsType[*Error](err); !ok || !e.Temporary {
			t.Errorf("Discover of a malformed secret = %v, want a temporary error", err)
		}
		if got, err := only(store.Get(t.Context())); err != nil || !got.Equal(app1) {
			t.Errorf("Get after it = %s, %v, want what was there before", got.AppID, err)
		}
	})
}

func TestEmptySecretIsRereadAndAffectsNoOtherMiniProgram(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := &fake{text: `{"wx000000000000000a":"","wx000000000000000b":"sb"}`}
		store := New(api, "id", time.Now)
		apps, err := store.Load()
		if err != nil {
			t.Fatal(err)
		}
		a, _ := apps.Find(appA)
		b, _ := apps.Find(appB)
		for range 2 {
			_, err = store.Usable(t.Context(), a)
			if e, ok := errors.AsType[*Error](err); !ok || e.Temporary || api.calls.Load() != 2 {
				t.Errorf("Usable without a secret = %v after %d reads, want an error to act on after 2", err, api.calls.Load())
			}
		}
		if got, err := store.Usable(t.Context(), b); err != nil || !got.Equal(b) || api.calls.Load() != 2 {
			t.Errorf("Usable of the other = %v after %d reads, want it after 2", err, api.calls.Load())
		}
		api.text = `{"wx000000000000000a":"sa","wx000000000000000b":"sb"}`
		time.Sleep(rereadEvery)
		if got, err := store.Usable(t.Context(), a); err != nil || got.Secret.Reveal() != "sa" {
			t.Errorf("Usable after the secret was filled = %v, want it", err)
		}
	})
}
