package main

import (
	"errors"
	"io/fs"
	"regexp"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/config"

	"wechat-phone/shared/identity"
)

// settings are the function's settings. Beside each is its environment variable.
type settings struct {
	secretID        string        // WECHAT_SECRET_ID
	apiBaseURL      string        // WECHAT_API_BASE_URL
	timeout         time.Duration // WECHAT_TIMEOUT
	watermarkMaxAge time.Duration // WATERMARK_MAX_AGE
	verify          bool          // VERIFY_ENCRYPTED_DATA
	requireLogin    bool          // REQUIRE_LOGIN_CODE

	issuer          string        // TOKEN_ISSUER; empty if tokens are off
	tokenLifetime   time.Duration // TOKEN_LIFETIME
	tokenRenewal    time.Duration // TOKEN_RENEWAL
	signingSecretID string        // SIGNING_SECRET_ID
}

// variableError names an invalid variable. It does not repeat the value.
type variableError struct{ name, problem string }

func (e *variableError) Error() string { return e.name + " " + e.problem }

// readConfig reads the environment. An empty variable counts as not set. Every
// error is a [*variableError].
func readConfig(getenv func(string) string) (settings, error) {
	c := settings{
		secretID:        getenv("WECHAT_SECRET_ID"),
		apiBaseURL:      "https://api.weixin.qq.com",
		timeout:         4 * time.Second,
		watermarkMaxAge: 10 * time.Minute,
		tokenLifetime:   15 * time.Minute,
		tokenRenewal:    maxRenewal,
		signingSecretID: getenv("SIGNING_SECRET_ID"),
	}
	if c.secretID == "" {
		return c, &variableError{"WECHAT_SECRET_ID", "is not set"}
	}
	if url := getenv("WECHAT_API_BASE_URL"); url != "" {
		c.apiBaseURL = url
	}
	if text := getenv("WECHAT_TIMEOUT"); text != "" {
		timeout, err := time.ParseDuration(text)
		if err != nil || timeout <= 0 {
			return c, &variableError{"WECHAT_TIMEOUT", "must be a duration above 0, such as 4s"}
		}
		c.timeout = timeout
	}
	if text := getenv("WATERMARK_MAX_AGE"); text != "" {
		age, err := time.ParseDuration(text)
		if err != nil || age < 0 {
			return c, &variableError{"WATERMARK_MAX_AGE", "must be a duration such as 10m, or 0 for any age"}
		}
		c.watermarkMaxAge = age
	}
	var err error
	if c.verify, err = readSwitch(getenv, "VERIFY_ENCRYPTED_DATA"); err != nil {
		return c, err
	}
	if c.requireLogin, err = readSwitch(getenv, "REQUIRE_LOGIN_CODE"); err != nil {
		return c, err
	}
	return c, c.readTokens(getenv)
}

const (
	minLifetime = time.Minute
	maxLifetime = 24 * time.Hour  // see shared/signingkeys
	maxRenewal  = 720 * time.Hour // see shared/identity
)

// readTokens reads the variables of identity tokens.
func (c *settings) readTokens(getenv func(string) string) error {
	if text := getenv("TOKEN_LIFETIME"); text != "" {
		lifetime, err := time.ParseDuration(text)
		if err != nil || lifetime < minLifetime || lifetime > maxLifetime {
			return &variableError{"TOKEN_LIFETIME", "must be a duration of 1m to 24h"}
		}
		c.tokenLifetime = lifetime
	}
	if text := getenv("TOKEN_RENEWAL"); text != "" {
		renewal, err := time.ParseDuration(text)
		if err != nil || renewal < 0 || renewal > maxRenewal {
			return &variableError{"TOKEN_RENEWAL", "must be a duration up to 720h, or 0 for no renewal"}
		}
		c.tokenRenewal = renewal
	}
	url := getenv("TOKEN_ISSUER")
	if url == "" {
		return nil
	}
	issuer, err := identity.ParseIssuer(url)
	if err != nil {
		return &variableError{"TOKEN_ISSUER", strings.TrimPrefix(err.Error(), "identity: the issuer ")}
	}
	if c.signingSecretID == "" {
		return &variableError{"SIGNING_SECRET_ID", "is not set, but TOKEN_ISSUER is"}
	}
	c.issuer = issuer
	return nil
}

// readSwitch reads a variable that is on or off. The default is off.
func readSwitch(getenv func(string) string, name string) (on bool, _ error) {
	switch getenv(name) {
	case "", "off":
		return false, nil
	case "on":
		return true, nil
	}
	return false, &variableError{name, "must be on or off"}
}

// sdkError names the variable that kept the AWS SDK from loading its
// configuration. The SDK's own errors name some variables, but repeat their values.
func sdkError(err error, getenv func(string) string) error {
	const problem = "cannot be used by the AWS SDK"
	if name := sdkVariable.FindString(err.Error()); name != "" {
		return &variableError{name, problem}
	}
	if _, ok := errors.AsType[config.SharedConfigProfileNotExistError](err); ok {
		return &variableError{"AWS_PROFILE", "names a profile that does not exist"}
	}
	_, unreadable := errors.AsType[*fs.PathError](err)
	if getenv("AWS_CA_BUNDLE") != "" && (unreadable || strings.Contains(err.Error(), "CA bundle")) {
		return &variableError{"AWS_CA_BUNDLE", "must name a readable file of PEM certificates"}
	}
	return err
}

var sdkVariable = regexp.MustCompile(`AWS_[A-Z0-9_]+`)
