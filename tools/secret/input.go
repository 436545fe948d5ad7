package main

import (
	"encoding/json/v2"
	"errors"
	"io"
	"os"
	"regexp"

	"golang.org/x/term"

	"wechat-phone/shared/appsecret"
	"wechat-phone/tools/operator"
)

// credentials are a mini-program's credentials, as they appear on standard input.
type credentials struct {
	AppID  string `json:"appid"`
	Secret string `json:"secret"`
}

// appSecret matches WeChat's app secrets. Checking the form finds values that are
// swapped or incomplete before a user does.
var appSecret = regexp.MustCompile(`^[0-9a-f]{32}$`)

// read reads and checks the credentials. Its errors hold no part of them.
func read(in *os.File) (c credentials, err error) {
	if operator.IsTerminal(in) {
		c, err = ask(in)
	} else {
		c, err = decode(in)
	}
	c.AppID, c.Secret = appsecret.Trim(c.AppID), appsecret.Trim(c.Secret)
	switch {
	case err != nil:
		return c, err
	case !appsecret.IsAppID(c.AppID):
		return c, errors.New("appid must be wx and 16 hexadecimal digits, as in WeChat's console")
	case !appSecret.MatchString(c.Secret):
		return c, errors.New("secret must be 32 hexadecimal digits, as in WeChat's console")
	}
	return c, nil
}

// ask asks for the credentials and shows neither.
func ask(terminal *os.File) (c credentials, err error) {
	err = operator.WithTerminal(terminal, func(t *term.Terminal) error {
		if c.AppID, err = t.ReadPassword("appid (not shown): "); err != nil {
			return operator.ErrUnchanged
		}
		if c.Secret, err = t.ReadPassword("app secret (not shown): "); err != nil {
			return operator.ErrUnchanged
		}
		return nil
	})
	return c, err
}

func decode(in io.Reader) (c credentials, err error) {
	const limit = 64 << 10 // as in Secrets Manager
	text, err := io.ReadAll(io.LimitReader(in, limit))
	if err != nil {
		return c, err
	}
	text = []byte(appsecret.Trim(string(text)))
	if json.Unmarshal(text, &c, json.RejectUnknownMembers(true)) != nil { // the error may hold the text
		return c, errors.New(`standard input must be {"appid":"wx…","secret":"…"}, and nothing else`)
	}
	return c, nil
}
