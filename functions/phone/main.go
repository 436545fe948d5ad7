// Command phone is the Lambda function. A WeChat mini-program posts what its
// getPhoneNumber button returned: a phone code, or sealed data with a login code.
// The function answers with a verified phone number.
package main

import (
	"bytes"
	"context"
	"log"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-lambda-go/lambdacontext"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"wechat-phone/shared/appsecret"
	"wechat-phone/shared/wechat"
)

// startTimeout limits connecting to WeChat before the first request. appsecret and
// wechat have the same limit for the secret and the access token. Lambda allows
// 10 s for the whole start.
const startTimeout = 2 * time.Second

// version is the release. make release sets it.
var version = "dev"

func main() {
	logger := newLogger()
	h, err := start(os.Getenv, logger)
	if err != nil {
		logger.Error("the function cannot start", "reason", err)
		os.Exit(1)
	}
	logger.Info("the function has started", "version", version)
	lambda.Start(h)
}

// newLogger returns the function's logger, and makes the standard log package
// write through it.
func newLogger() *slog.Logger {
	logger := lambdacontext.NewLogger()
	log.SetOutput(libraryLog{logger})
	return logger
}

// start builds the handler and does what the first user would otherwise wait for.
// It reads the secrets while it opens the connection to WeChat. Then it fetches the
// access token if every request needs it. If one of these fails, the function still
// starts, and the first request tries again.
func start(getenv func(string) string, logger *slog.Logger) (*handler, error) {
	c, err := readConfig(getenv)
	if err != nil {
		return nil, err
	}
	client, err := wechat.New(c.apiBaseURL)
	if err != nil {
		return nil, &variableError{"WECHAT_API_BASE_URL", err.Error()}
	}

	for _, name := range []string{"HTTPS_PROXY", "https_proxy"} {
		if getenv(name) != "" {
			logger.Warn("calls to Secrets Manager use the proxy, but calls to WeChat do not", "variable", name)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	sdk, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		return nil, sdkError(err, getenv)
	}
	sdk.Logger = nil // the SDK's own lines are not JSON
	api := secretsmanager.NewFromConfig(sdk)
	store, tokens := appsecret.New(api, c.secretID, time.Now), wechat.NewTokens(client, time.Now)
	h := &handler{
		secrets: store, tokens: tokens, wechat: client,
		timeout: c.timeout, maxAge: c.watermarkMaxAge, verify: c.verify, requireLogin: c.requireLogin,
		issuer: newIssuer(c, api), now: time.Now, log: logger,
	}

	var others sync.WaitGroup
	others.Go(func() { h.warn("WeChat was not reached at start", client.Connect(ctx)) })
	if h.issuer != nil {
		others.Go(func() { h.warn("the signing keys were not read at start", h.issuer.keys.Load()) })
	}
	apps, err := store.Load()
	h.warn("the secret was not read at start", err)
	others.Wait() // so that fetching the token uses the same connection
	// With several mini-programs, most processes would fetch tokens that they never use.
	if app, only := apps.Only(); c.verify && only {
		h.warn("the access token was not fetched at start", tokens.Load(app))
	}
	return h, nil
}

// warn logs err, if a part of the start has failed.
func (h *handler) warn(message string, err error) {
	if err != nil {
		h.log.Warn(message, "reason", err)
	}
}

// libraryLog replaces the lines that the standard library and the Lambda runtime
// library log. They may hold data, and are not JSON.
type libraryLog struct{ *slog.Logger }

// Write logs a fixed line instead of p.
func (l libraryLog) Write(p []byte) (int, error) {
	switch {
	case bytes.Contains(p, []byte("/runtime/invocation/")): // for example, an emulator has exited
		l.Warn("the Lambda runtime API is gone, so the process ends")
	case bytes.Contains(p, []byte("AWS_LAMBDA_RUNTIME_API")):
		l.Error("AWS_LAMBDA_RUNTIME_API is not set: this program runs in AWS Lambda")
	default:
		l.Error("a library logged a line, which is withheld because it may hold data")
	}
	return len(p), nil
}
