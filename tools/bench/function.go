package main

import (
	"bytes"
	"context"
	"encoding/json/v2"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"wechat-phone/local/lambdatest"
	"wechat-phone/local/secretstest"
	"wechat-phone/local/stage"
	"wechat-phone/local/wechattest"
)

// bench has what the rows need: the executables, and the stand-ins, each of them
// near and over plain HTTP, and over TLS.
type bench struct {
	phone, hello, secretOnly string // paths
	env                      []string
	short                    bool
	dir                      string // for what is made on the way

	secrets, secretsTLS     *httptest.Server
	wechat, wechatTLS, away *httptest.Server
	closing                 *httptest.Server // over TLS: it closes the connection behind each answer
	secretARN               string
	trust                   []string // variables by which the function trusts the stand-ins, and 142 others
	envTLS                  []string // env and trust
	certificates            string   // the directories

	event      []byte // sealed data and a login code
	phoneEvent []byte // a phone code and a login code
	functions  []*lambdatest.Function
}

func newBench(dir string, env []string, short bool) (*bench, error) {
	b := &bench{
		phone: filepath.Join(dir, "phone"), hello: filepath.Join(dir, "hello"), secretOnly: filepath.Join(dir, "secretonly"),
		env: env, short: short,
	}
	var err error
	if b.dir, err = os.MkdirTemp("", "wechat-phone-bench-"); err != nil {
		return nil, err
	}
	store := &secretstest.Server{}
	b.secretARN = store.Put(stage.SecretName, stage.Secret(stage.AppID, stage.AppSecret))

	w := wechattest.New(stage.AppID, stage.AppSecret, time.Now)
	user := w.NewUser()
	const code, phoneCode = "code-of-the-bench", "phone-code-of-the-bench"
	w.KnowPhone(phoneCode, user)
	answers := http.NewServeMux()
	answers.HandleFunc("GET /sns/jscode2session", wechattest.Accept(user)) // as cheap as an answer can be
	answers.Handle("/", w)
	tap := w.SealPhone(user)
	tap.Code = code
	if b.event, err = event(tap); err != nil {
		return nil, err
	}
	if b.phoneEvent, err = event(wechattest.PhoneTap{PhoneCode: phoneCode, Code: code}); err != nil {
		return nil, err
	}

	b.secrets, b.secretsTLS = httptest.NewServer(store), httptest.NewTLSServer(store)
	b.wechat, b.wechatTLS = httptest.NewServer(answers), httptest.NewTLSServer(answers)
	b.closing = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Connection", "close")
		answers.ServeHTTP(w, r)
	}))
	b.away = httptest.NewUnstartedServer(answers)
	b.away.Listener = far{b.away.Listener}
	b.away.StartTLS()
	return b, b.makeCertificates(b.away.Certificate())
}

// event is the gateway's, for what the page posts.
func event(tap any) ([]byte, error) {
	body, err := json.Marshal(tap)
	if err != nil {
		return nil, err
	}
	r := httptest.NewRequest(http.MethodPost, "/phone", nil)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", "MicroMessenger")
	return json.Marshal(lambdatest.NewEvent(r, body))
}

func (b *bench) close() {
	b.closeFunctions()
	for _, server := range []*httptest.Server{b.secrets, b.secretsTLS, b.wechat, b.wechatTLS, b.away, b.closing} {
		server.Close()
	}
	_ = os.RemoveAll(b.dir)
}

func (b *bench) closeFunctions() {
	for _, f := range b.functions {
		f.Close()
	}
	b.functions = nil
}

// run starts a function beside a WeChat and waits for its first next.
func (b *bench) run(bootstrap string, wechat, secrets *httptest.Server, concurrency int, env ...string) (*lambdatest.Function, error) {
	return lambdatest.Start(lambdatest.Config{
		Bootstrap: bootstrap, Concurrency: concurrency, Logs: io.Discard,
		Env: append([]string{
			"WECHAT_SECRET_ID=" + b.secretARN,
			"WECHAT_API_BASE_URL=" + wechat.URL,
			"AWS_ENDPOINT_URL_SECRETS_MANAGER=" + secrets.URL,
			"URL=" + wechat.URL + "/sns/jscode2session",
		}, env...),
	})
}

// keep is run for a function that stays until the end, near everything, in the
// template's environment.
func (b *bench) keep(bootstrap string) (*lambdatest.Function, error) {
	f, err := b.run(bootstrap, b.wechat, b.secrets, 1, b.env...)
	if err == nil {
		b.functions = append(b.functions, f)
	}
	return f, err
}

// send sends an event, and wants a success.
func send(f *lambdatest.Function, event []byte) (time.Duration, error) {
	began := time.Now()
	answer, err := f.Invoke(context.Background(), event)
	took := time.Since(began)
	if err != nil {
		return 0, err
	}
	if !bytes.Contains(answer, []byte(`"statusCode":200`)) && !bytes.Contains(answer, []byte("hello")) {
		return 0, fmt.Errorf("the function answered %s", answer)
	}
	return took, nil
}

// sendMany sends an event n times, one after the other, and returns the median
// time and the CPU time of one.
func sendMany(f *lambdatest.Function, event []byte, n int) (took, cpu float64, _ error) {
	times := make([]float64, n)
	before, err := cpuTime(f.PID())
	if err != nil {
		return 0, 0, err
	}
	for i := range times {
		one, err := send(f, event)
		if err != nil {
			return 0, 0, err
		}
		times[i] = ms(one)
	}
	after, err := cpuTime(f.PID())
	return percentile(times, 0.5), ms(after-before) / float64(n), err
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// cpuTime is what the threads of a process have had.
func cpuTime(pid int) (total time.Duration, _ error) {
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	if err != nil || len(files) == 0 {
		return 0, fmt.Errorf("no CPU time of process %d in /proc", pid)
	}
	for _, file := range files {
		text, err := os.ReadFile(filepath.Clean(file))
		if err != nil {
			return 0, err
		}
		nanoseconds, _, _ := strings.Cut(string(text), " ")
		n, err := strconv.ParseInt(nanoseconds, 10, 64)
		if err != nil {
			return 0, err
		}
		total += time.Duration(n)
	}
	return total, nil
}

// peakMemory is the most that a process has had in memory, in bytes.
func peakMemory(pid int) (float64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(text), "VmHWM:")
	var kilobytes float64
	_, err = fmt.Sscan(rest, &kilobytes)
	return kilobytes * 1024, err
}
