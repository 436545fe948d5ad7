// Package secretvalue reads a secret's text from Secrets Manager and says why it
// cannot be read. Call [Read]. It caches nothing.
package secretvalue

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"wechat-phone/shared/neterror"
)

// SecretsManager is the part of Secrets Manager that [Read] uses.
type SecretsManager interface {
	GetSecretValue(
		context.Context, *secretsmanager.GetSecretValueInput, ...func(*secretsmanager.Options),
	) (*secretsmanager.GetSecretValueOutput, error)
}

// ID is a secret's name or ARN.
type ID string

// Key implements flight.Arg.
func (id ID) Key() string { return string(id) }

// Equal implements flight.Arg.
func (id ID) Equal(other ID) bool { return id == other }

// Failure says why a secret cannot be used. It holds nothing of the secret, so it
// may be logged.
type Failure struct {
	// Temporary is true if Secrets Manager throttled, failed or was not reached.
	// Any other failure lasts until somebody fixes it.
	Temporary bool
	// Reason is a class: AWS's error code, "malformed: " and what is wrong, or a
	// network failure such as "timeout", "dns" or "connection refused".
	Reason string
}

// Malformed returns the failure for a text that cannot be used.
func Malformed(problem string) *Failure { return &Failure{Reason: "malformed: " + problem} }

// TimedOut returns the failure for err if the caller's ctx ended before the secret
// was read, and otherwise nil.
func TimedOut(ctx context.Context, err error) *Failure {
	if err != nil && errors.Is(err, ctx.Err()) {
		return &Failure{Temporary: true, Reason: "timeout"}
	}
	return nil
}

// Read returns the secret's text.
func Read(ctx context.Context, api SecretsManager, id ID) (string, *Failure) {
	name := string(id)
	var recorder errorRecorder
	out, err := api.GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{SecretId: &name}, recorder.option)
	if err != nil {
		return "", classify(ctx, err, recorder)
	}
	if out.SecretString == nil {
		return "", Malformed("binary")
	}
	return *out.SecretString, nil
}

// errorRecorder is an HTTP client that records how its last request ended. The SDK
// retries until the deadline, and then says only that the deadline has passed. If the
// deadline cuts off a retry, the record stays that of the request before, which says why
// the SDK retried.
type errorRecorder struct {
	secretsmanager.HTTPClient
	err    error
	status int // of the answer, if there was one
}

// option makes the SDK send its requests through r.
func (r *errorRecorder) option(o *secretsmanager.Options) {
	OwnBodies(o)
	r.HTTPClient, o.HTTPClient = o.HTTPClient, r
}

// Do implements [secretsmanager.HTTPClient].
func (r *errorRecorder) Do(request *http.Request) (*http.Response, error) {
	answer, err := r.HTTPClient.Do(request)
	if retry := r.err != nil || r.status != 0; retry && err != nil && request.Context().Err() != nil {
		return answer, err
	}
	r.err, r.status = err, 0
	if err == nil {
		r.status = answer.StatusCode
	}
	return answer, err
}

// OwnBodies is an option for the SDK's client that gives each request a body of its own.
// The SDK closes its body as soon as an answer begins. If net/http is still reading the
// body then, it treats the request as failed and closes the connection, which cuts a long
// answer off.
func OwnBodies(o *secretsmanager.Options) { o.HTTPClient = ownBodies{o.HTTPClient} }

type ownBodies struct{ secretsmanager.HTTPClient }

// Do implements [secretsmanager.HTTPClient].
func (c ownBodies) Do(request *http.Request) (*http.Response, error) {
	if request.Body != nil {
		body, err := io.ReadAll(request.Body)
		if err != nil {
			return nil, err
		}
		request.Body = io.NopCloser(bytes.NewReader(body))
	}
	return c.HTTPClient.Do(request)
}

// classify returns err as a [*Failure]. No answer, a 5xx and throttling are
// temporary. All other answers (the secret is missing, denied or to be deleted, or
// its key is disabled) stay the same until somebody acts. last is how the last
// request ended.
func classify(ctx context.Context, err error, last errorRecorder) *Failure {
	// Interfaces, because the SDK's types would add two modules for two methods.
	answer, answered := errors.AsType[interface {
		error
		HTTPStatusCode() int
	}](err)
	_, broken := errors.AsType[net.Error](err)
	broken = broken || errors.Is(err, io.ErrUnexpectedEOF) // half an answer
	switch {
	case last.err != nil:
		return &Failure{Temporary: true, Reason: networkClass(last.err)}
	case ctx.Err() != nil && last.status >= http.StatusBadRequest: // retried: Secrets Manager fails or throttles
		return &Failure{Temporary: true, Reason: fmt.Sprint("status ", last.status)}
	case ctx.Err() != nil:
		return &Failure{Temporary: true, Reason: "timeout"}
	case broken:
		return &Failure{Temporary: true, Reason: networkClass(err)}
	case !answered, answer.HTTPStatusCode() == 0:
		return &Failure{Temporary: true, Reason: "network"}
	}
	status, code := answer.HTTPStatusCode(), errorCode(err)
	return &Failure{Temporary: status >= 500 || status == http.StatusTooManyRequests || throttling(code), Reason: code}
}

// networkClass returns the [neterror.Class] of err, with "tls: " before a failure
// of TLS.
func networkClass(err error) string {
	_, record := errors.AsType[tls.RecordHeaderError](err)
	_, alert := errors.AsType[tls.AlertError](err)
	class := neterror.Class(err)
	if class == "certificate" || record || alert || errors.Is(err, http.ErrSchemeMismatch) {
		return "tls: " + class
	}
	return class
}

// errorCode returns AWS's error code, or "unknown" if it does not look like one.
func errorCode(err error) string {
	coded, ok := errors.AsType[interface {
		error
		ErrorCode() string
	}](err)
	if !ok || len(coded.ErrorCode()) > 64 || strings.Trim(coded.ErrorCode(), codeLetters) != "" {
		return "unknown"
	}
	return coded.ErrorCode()
}

const codeLetters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.:#"

// throttling reports whether AWS throttled the request. It does so with these
// codes and status 400.
func throttling(code string) bool {
	return strings.Contains(code, "Throttl") || strings.Contains(code, "TooManyRequests") ||
		strings.Contains(code, "LimitExceeded") || code == "SlowDown"
}
