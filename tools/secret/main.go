// Command secret puts a mini-program's appid and app secret into the secret of a
// deployed stack. At a terminal it asks for both and shows neither. Otherwise it
// reads the secret's JSON from standard input. It takes no secret as an argument:
// other processes and the shell's history would see it.
package main

import (
	"context"
	"encoding/json/v2"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"

	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"golang.org/x/term"
)

func main() {
	env := flag.String("env", "dev", "the `environment` of samconfig.toml whose stack has the secret")
	flag.Parse()
	if err := run(context.Background(), *env); err != nil {
		fmt.Fprintln(os.Stderr, "secret:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, env string) error {
	stack, err := outputs(ctx, env)
	if err != nil {
		return err
	}
	arn := stack["SecretArn"]
	parts := strings.Split(arn, ":")
	if len(parts) != 7 {
		return errors.New("the stack has no output SecretArn")
	}
	value, err := read(os.Stdin)
	if err != nil {
		return err
	}
	text, err := json.Marshal(value)
	if err != nil {
		return err
	}
	sdk, err := config.LoadDefaultConfig(ctx, config.WithRegion(parts[3]))
	if err != nil {
		return err
	}
	input := &secretsmanager.PutSecretValueInput{SecretId: &arn, SecretString: new(string(text))}
	if _, err := secretsmanager.NewFromConfig(sdk).PutSecretValue(ctx, input); err != nil {
		return refusal(err)
	}
	fmt.Printf("Secrets Manager has the new value. It takes up to 30 seconds until the function uses it; then try\n\n"+
		"  make smoke URL=%s\n\n"+
		"If the old value was another mini-program's, also run make restart ENV=%s.\n", stack["PhoneUrl"], env)
	return nil
}

// outputs returns the stack's outputs. It asks SAM, which reads the stack's name
// from samconfig.toml.
func outputs(ctx context.Context, env string) (map[string]string, error) {
	// #nosec G204 -- env is the deployer's own word
	sam := exec.CommandContext(ctx, "sam", "list", "stack-outputs", "--config-env", env, "--output", "json")
	sam.Stderr = os.Stderr
	text, err := sam.Output()
	switch {
	case errors.Is(err, exec.ErrNotFound):
		return nil, errors.New("sam is missing: install the SAM CLI")
	case err != nil:
		return nil, fmt.Errorf("sam list stack-outputs: %w", err)
	}
	var list []struct{ OutputKey, OutputValue string }
	if err := json.Unmarshal(text, &list); err != nil {
		return nil, errors.New("sam list stack-outputs printed no list")
	}
	all := map[string]string{}
	for _, output := range list {
		all[output.OutputKey] = output.OutputValue
	}
	return all, nil
}

// credentials are the secret's JSON.
type credentials struct {
	AppID  string `json:"appid"`
	Secret string `json:"secret"`
}

// The forms of WeChat's values. They reveal values that are swapped or copied
// incompletely, before a user does.
var (
	appID     = regexp.MustCompile(`^wx[0-9a-f]{16}$`)
	appSecret = regexp.MustCompile(`^[0-9a-f]{32}$`)
)

// read reads and checks the credentials. Its errors hold no part of them.
func read(in *os.File) (c credentials, err error) {
	if term.IsTerminal(int(in.Fd())) {
		c, err = ask(in)
	} else {
		c, err = decode(in)
	}
	switch {
	case err != nil:
		return c, err
	case !appID.MatchString(c.AppID):
		return c, errors.New("appid must be wx and 16 hexadecimal digits, as in WeChat's console")
	case !appSecret.MatchString(c.Secret):
		return c, errors.New("secret must be 32 hexadecimal digits, as in WeChat's console")
	}
	return c, nil
}

// ask asks in the terminal's raw mode, which shows nothing that is typed, even
// before the first question. In this mode Ctrl-C only ends the input.
func ask(terminal *os.File) (c credentials, err error) {
	fd := int(terminal.Fd())
	before, err := term.MakeRaw(fd)
	if err != nil {
		return c, err
	}
	defer func() { _ = term.Restore(fd, before) }()
	prompt := term.NewTerminal(terminal, "")
	for _, question := range []struct {
		name  string
		value *string
	}{{"appid", &c.AppID}, {"app secret", &c.Secret}} {
		line, err := prompt.ReadPassword(question.name + " (not shown): ")
		if err != nil {
			return c, errors.New("interrupted: the secret has not changed")
		}
		*question.value = strings.TrimSpace(line)
	}
	return c, nil
}

func decode(in io.Reader) (c credentials, err error) {
	const limit = 64 << 10 // as in Secrets Manager
	text, err := io.ReadAll(io.LimitReader(in, limit))
	if err != nil {
		return c, err
	}
	text = []byte(strings.TrimPrefix(string(text), "\ufeff"))
	if json.Unmarshal(text, &c, json.RejectUnknownMembers(true)) != nil { // the error may hold the text
		return c, errors.New(`standard input must be {"appid":"wx…","secret":"…"}, and nothing else`)
	}
	c.AppID, c.Secret = strings.TrimSpace(c.AppID), strings.TrimSpace(c.Secret)
	return c, nil
}

// refusal returns AWS's error by its code: its text might repeat what was sent.
func refusal(err error) error {
	coded, ok := errors.AsType[interface {
		error
		ErrorCode() string
	}](err)
	if !ok {
		return errors.New("AWS Secrets Manager was not reached, or there are no AWS credentials here")
	}
	return fmt.Errorf("AWS Secrets Manager answered %s", coded.ErrorCode())
}
