// Package lambdatest is a mock of AWS Lambda and of the HTTP API in front of it. A
// [Function] runs a real bootstrap and serves the Runtime API to it. A [Gateway]
// turns HTTP requests into events, and the function's answers into HTTP responses.
//
// https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html
package lambdatest

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"sync"
	"time"
)

// Config configures a [Function].
type Config struct {
	Bootstrap   string        // path of the executable
	Env         []string      // the function's own variables, as NAME=value
	Timeout     time.Duration // of one invocation; 10 s if 0
	Concurrency int           // concurrent invocations in one process; 1 if 0
	Logs        io.Writer     // receives the process's stdout and stderr
}

// Function is a deployed function. It is safe for concurrent use. Make one with
// [Start].
type Function struct {
	config Config
	server *http.Server
	api    string // host:port of the Runtime API
	queue  chan *invocation

	mu       sync.Mutex
	env      []string               // of a new process, in addition to Lambda's own
	process  *process               // nil from its exit until the next invocation
	inFlight map[string]*invocation // by request id
	closed   bool
}

type process struct {
	id     string
	cmd    *exec.Cmd
	ready  chan struct{} // closed when the process first asks for an event
	exited chan struct{} // closed when the process has exited
	once   sync.Once
}

type invocation struct {
	id     string
	event  []byte
	result chan result // buffered, so that sending never waits for the caller
}

type result struct {
	answer []byte
	err    error
}

// Error is a failed invocation as Lambda reports it: a crash, a timeout, or an error
// that the process itself reported.
type Error struct {
	Type    string
	Payload []byte // the process's own report, if any
}

func (e *Error) Error() string { return e.Type + " " + string(e.Payload) }

// Start starts the Runtime API and the process, and waits until the process asks for
// its first event. It returns an [*Error] if the process exits first.
func Start(config Config) (*Function, error) {
	if config.Timeout == 0 {
		config.Timeout = 10 * time.Second
	}
	if config.Concurrency == 0 {
		config.Concurrency = 1
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	f := &Function{
		config: config, api: listener.Addr().String(),
		queue: make(chan *invocation), inFlight: map[string]*invocation{},
	}
	mux := http.NewServeMux()
	// The first part of the path tells processes apart: a killed one's last request may
	// arrive late.
	mux.HandleFunc("GET /{process}/2018-06-01/runtime/invocation/next", f.serveNext)
	mux.HandleFunc("POST /{process}/2018-06-01/runtime/invocation/{id}/response", f.serveResponse)
	mux.HandleFunc("POST /{process}/2018-06-01/runtime/invocation/{id}/error", f.serveError)
	mux.HandleFunc("POST /{process}/2018-06-01/runtime/init/error", accept)
	f.server = &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = f.server.Serve(listener) }()

	if err := f.Restart(); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// Restart kills the process, if there is one, starts another, and waits until it asks
// for its first event. It returns an [*Error] if the process exits first. The variables
// in env override the configured ones until the next Restart.
func (f *Function) Restart(env ...string) error {
	f.kill()
	f.mu.Lock()
	f.env = slices.Concat(f.config.Env, env)
	f.mu.Unlock()
	p, err := f.startProcess()
	if err != nil {
		return err
	}
	select {
	case <-p.ready:
		return nil
	case <-p.exited:
		return &Error{Type: "Runtime.ExitError"}
	case <-time.After(10 * time.Second): // Lambda's limit for init
		return &Error{Type: "Sandbox.Timedout"}
	}
}

// kill kills the process, if there is one, and waits until it has exited.
func (f *Function) kill() {
	f.mu.Lock()
	p := f.process
	f.mu.Unlock()
	if p != nil {
		_ = p.cmd.Process.Kill()
		<-p.exited
	}
}

// Close kills the process and stops the Runtime API.
func (f *Function) Close() {
	f.mu.Lock()
	f.closed = true
	f.mu.Unlock()
	f.kill()
	_ = f.server.Close()
}

// Signal sends a signal to the process. SIGSTOP and SIGCONT freeze and thaw it,
// as Lambda does between two invocations.
func (f *Function) Signal(signal os.Signal) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.process == nil {
		return os.ErrProcessDone
	}
	return f.process.cmd.Process.Signal(signal)
}

// PID returns the process id, or 0 if no process is running.
func (f *Function) PID() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.process == nil {
		return 0
	}
	return f.process.cmd.Process.Pid
}

// Invoke sends an event to the process and returns the answer. If the process has
// exited, Invoke starts a new one. If the function fails, it returns an [*Error].
func (f *Function) Invoke(ctx context.Context, event []byte) ([]byte, error) {
	i := &invocation{id: newID(), event: event, result: make(chan result, 1)}
	for {
		p, err := f.startProcess()
		if err != nil {
			return nil, err
		}
		select {
		case f.queue <- i:
			return f.await(ctx, i)
		case <-p.exited:
			select {
			case <-p.ready: // it had started, so try a new process
			default:
				return nil, &Error{Type: "Runtime.ExitError"}
			}
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (f *Function) await(ctx context.Context, i *invocation) ([]byte, error) {
	timeout := time.NewTimer(f.config.Timeout)
	defer timeout.Stop()
	select {
	case r := <-i.result:
		return r.answer, r.err
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-timeout.C:
		// A process with other invocations keeps running.
		if f.config.Concurrency == 1 {
			_ = f.Signal(os.Kill)
		}
		return nil, &Error{Type: "Sandbox.Timedout"}
	}
}

// startProcess returns the running process. If there is none, it starts one.
func (f *Function) startProcess() (*process, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil, errors.New("lambdatest: the function is closed")
	}
	if f.process != nil {
		return f.process, nil
	}
	p := &process{
		id: newID(), cmd: exec.Command(f.config.Bootstrap), ready: make(chan struct{}), exited: make(chan struct{}),
	}
	p.cmd.Env = append(f.environment(p), f.env...) // the last value of a variable counts
	p.cmd.Stdout, p.cmd.Stderr = f.config.Logs, f.config.Logs
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	f.process = p
	go func() {
		_ = p.cmd.Wait()
		f.mu.Lock()
		defer f.mu.Unlock()
		f.process = nil
		for id, i := range f.inFlight {
			i.result <- result{err: &Error{Type: "Runtime.ExitError"}}
			delete(f.inFlight, id)
		}
		close(p.exited)
	}()
	return p, nil
}

// environment returns the variables that Lambda sets for every process of a function.
//
// https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html
func (f *Function) environment(p *process) []string {
	env := []string{
		"AWS_LAMBDA_RUNTIME_API=" + f.api + "/" + p.id,
		"AWS_LAMBDA_FUNCTION_NAME=PhoneFunction",
		"AWS_LAMBDA_FUNCTION_VERSION=$LATEST",
		"AWS_LAMBDA_FUNCTION_MEMORY_SIZE=256",
		"AWS_LAMBDA_INITIALIZATION_TYPE=on-demand",
		"AWS_LAMBDA_LOG_GROUP_NAME=/aws/lambda/PhoneFunction",
		"AWS_LAMBDA_LOG_STREAM_NAME=local",
		"AWS_LAMBDA_LOG_FORMAT=JSON",
		"AWS_REGION=us-east-1",
		"AWS_DEFAULT_REGION=us-east-1",
		"AWS_ACCESS_KEY_ID=local",
		"AWS_SECRET_ACCESS_KEY=local",
		"AWS_SESSION_TOKEN=local",
		"LANG=en_US.UTF-8",
		"PATH=/usr/local/bin:/usr/bin:/bin",
		"TZ=:UTC",
		"_HANDLER=bootstrap",
	}
	if f.config.Concurrency > 1 {
		env = append(env, "AWS_LAMBDA_MAX_CONCURRENCY="+strconv.Itoa(f.config.Concurrency))
	}
	return env
}

// serveNext waits for an event and hands it to the process.
func (f *Function) serveNext(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	p := f.process
	f.mu.Unlock()
	if p == nil || p.id != r.PathValue("process") {
		return
	}
	p.once.Do(func() { close(p.ready) })
	select {
	case <-r.Context().Done():
	case <-p.exited:
	case i := <-f.queue:
		f.mu.Lock()
		if f.process != p {
			i.result <- result{err: &Error{Type: "Runtime.ExitError"}}
		} else {
			f.inFlight[i.id] = i
		}
		f.mu.Unlock()
		header := w.Header()
		header.Set("Lambda-Runtime-Aws-Request-Id", i.id)
		deadline := time.Now().Add(f.config.Timeout)
		header.Set("Lambda-Runtime-Deadline-Ms", strconv.FormatInt(deadline.UnixMilli(), 10))
		header.Set("Lambda-Runtime-Invoked-Function-Arn",
			"arn:aws:lambda:us-east-1:123456789012:function:PhoneFunction")
		header.Set("Lambda-Runtime-Trace-Id", "Root=1-00000000-000000000000000000000000;Sampled=0")
		header.Set("Content-Type", "application/json")
		_, _ = w.Write(i.event)
	}
}

func (f *Function) serveResponse(w http.ResponseWriter, r *http.Request) {
	f.finish(w, r, func(body []byte) result { return result{answer: body} })
}

func (f *Function) serveError(w http.ResponseWriter, r *http.Request) {
	f.finish(w, r, func(body []byte) result {
		return result{err: &Error{Type: r.Header.Get("Lambda-Runtime-Function-Error-Type"), Payload: body}}
	})
}

// finish ends an invocation with the result that parse makes of the request's body.
func (f *Function) finish(w http.ResponseWriter, r *http.Request, parse func([]byte) result) {
	const limit = 6 << 20 // Lambda's limit for a synchronous answer
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	if err != nil {
		http.Error(w, `{"errorType":"RequestEntityTooLarge"}`, http.StatusRequestEntityTooLarge)
		return
	}
	f.mu.Lock()
	i := f.inFlight[r.PathValue("id")]
	delete(f.inFlight, r.PathValue("id"))
	f.mu.Unlock()
	if i == nil {
		http.Error(w, `{"errorType":"InvalidRequestID"}`, http.StatusBadRequest)
		return
	}
	i.result <- parse(body)
	accept(w, r)
}

func accept(w http.ResponseWriter, _ *http.Request) {
	w.WriteHeader(http.StatusAccepted)
	_, _ = io.WriteString(w, `{"status":"OK"}`)
}

func newID() string {
	var id [16]byte
	_, _ = rand.Read(id[:]) // never fails
	text := hex.EncodeToString(id[:])
	return fmt.Sprintf("%s-%s-4%s-8%s-%s", text[:8], text[8:12], text[13:16], text[17:20], text[20:])
}
