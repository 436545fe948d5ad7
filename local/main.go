// Command local runs the phone function on this machine, against mock servers
// for everything in the cloud. Run it with make run, make start or make invoke. Its
// flag -h lists the others.
package main

import (
	"context"
	"encoding/json/jsontext"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"wechat-phone/local/browser"
	"wechat-phone/local/stage"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "local:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	o, err := readOptions()
	if err != nil {
		return err
	}
	if o.stage.Bootstrap == "" {
		dir, err := os.MkdirTemp("", "wechat-phone-")
		if err != nil {
			return err
		}
		defer func() { _ = os.RemoveAll(dir) }()
		if o.stage.Bootstrap, err = stage.Bootstrap(dir); err != nil {
			return fmt.Errorf("the function does not compile: %w", err)
		}
	}

	raise := browser.Raise
	if o.event != nil || o.login {
		raise = stage.Raise
	}
	s, err := raise(o.stage)
	if err != nil {
		return err
	}
	defer s.Close()
	switch {
	case o.event != nil:
		return invoke(ctx, s, o.event)
	case o.login:
		return logIn(ctx, s)
	}
	printUsage(s, o.stage.WeChatURL == "")
	<-ctx.Done()
	return nil
}

// printUsage prints the stage's URLs and commands to try.
func printUsage(s *stage.Stage, mocked bool) {
	if s.PageURL != "" {
		fmt.Printf("in a browser     %s\n", s.PageURL)
	}
	fmt.Printf("phone function   %s/phone\n", s.URL)
	fmt.Printf("process          %d; if you kill it, the next request starts another\n", s.Function.PID())
	audience := "the mini-program's appid"
	if mocked {
		audience = stage.AppID + " or " + stage.SecondAppID
		fmt.Printf("WeChat           %s\nSecrets Manager  %s\n\n", s.WeChatURL, s.SecretsURL)
		printMocked(s)
	}
	fmt.Printf("What a backend checks tokens with (issuer %s, audience %s):\n\n", s.URL, audience)
	fmt.Printf("  curl -s %s/.well-known/openid-configuration\n", s.URL)
	fmt.Printf("  curl -s %s/.well-known/jwks.json\n\n", s.URL)
	fmt.Println("Press Ctrl-C to stop.")
}

// printMocked prints commands that the mock WeChat's pages answer.
func printMocked(s *stage.Stage) {
	fmt.Printf("A complete login:\n\n  curl -s %s/tap | curl -s --json @- %s/phone\n\n", s.WeChatURL, s.URL)
	fmt.Print("The same with a phone code:\n\n")
	fmt.Printf("  curl -s '%s/tap?shape=phone-code' | curl -s --json @- %s/phone\n\n", s.WeChatURL, s.URL)
	fmt.Print("The second mini-program:\n\n")
	fmt.Printf("  curl -s '%s/tap?appid=%s' | curl -s --json @- %s/phone\n\n", s.WeChatURL, stage.SecondAppID, s.URL)
	fmt.Print("An identity token. A user with a name is the same user each time:\n\n")
	fmt.Printf("  token=$(curl -s '%s/tap?user=ada&shape=phone-code' | curl -s --json @- %s/phone |", s.WeChatURL, s.URL)
	fmt.Print(" grep -o 'eyJ[^\"]*'); echo $token\n\n")
	fmt.Print("The same user comes back, without a tap: /login renews the token, and the phone number in it:\n\n")
	fmt.Printf("  curl -s \"%s/login?user=ada&token=$token\" | curl -s --json @- %s/login\n\n", s.WeChatURL, s.URL)
}

// options holds the settings from the flags and the environment.
type options struct {
	stage stage.Config
	event []byte // to send to the function, if not nil
	login bool
}

// readOptions reads the flags, the environment and the files that the flags name.
func readOptions() (options, error) {
	o := options{stage: stage.Config{Tokens: true, Logs: os.Stderr}}
	config := &o.stage
	flag.StringVar(&config.Bootstrap, "bootstrap", "", "run this `executable`; if empty, compile the function")
	flag.StringVar(&config.Host, "host", "127.0.0.1", "listen on this `address`; containers need 0.0.0.0")
	flag.IntVar(&config.Port, "port", 0,
		"listen on this `port`, and on the next two for WeChat and Secrets Manager; 0 picks free ports")
	flag.Func("route", "have this `route`, as in \"POST /phone\", and answer 404 to all others, as the deployed gateway"+
		" does; may be repeated; if there is none, pass everything on", func(route string) error {
		config.Routes = append(config.Routes, route)
		return nil
	})
	flag.IntVar(&config.Concurrency, "concurrency", 1, "run up to `n` invocations at once in one process")
	flag.StringVar(&config.WeChatURL, "wechat", "", "call WeChat at this `URL` instead of the mock; needs -secret")
	secretFile := flag.String("secret", "", `read the secret from this `+"`file`"+`: {"appid":"wx…","secret":"…"}`)
	eventFile := flag.String("event", "", "send the event in this `file` to the function, print the answer and exit")
	flag.BoolVar(&o.login, "login", false,
		"log in, tap, post, check the token and come back, print each step and exit; fail if a step fails")
	flag.Parse()
	if flag.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q", flag.Arg(0))
	}

	// Pass the function's own settings through.
	for _, name := range []string{
		"WECHAT_TIMEOUT", "WATERMARK_MAX_AGE", "VERIFY_ENCRYPTED_DATA", "REQUIRE_LOGIN_CODE",
		"TOKEN_LIFETIME", "TOKEN_RENEWAL",
	} {
		if value, ok := os.LookupEnv(name); ok {
			config.Env = append(config.Env, name+"="+value)
		}
	}
	if (config.WeChatURL == "") != (*secretFile == "") {
		return o, errors.New("-wechat and -secret must be used together")
	}
	if *secretFile != "" {
		text, err := os.ReadFile(*secretFile)
		if err != nil {
			return o, err
		}
		config.Secret = string(text)
	}
	var err error
	if *eventFile != "" {
		o.event, err = readEvent(*eventFile)
	}
	config.Several = *secretFile == "" && *eventFile == "" && !o.login // -login and -event show the simplest case
	return o, err
}

// readEvent reads a file and checks only that it is JSON. Judging the event is
// the function's job.
func readEvent(file string) ([]byte, error) {
	event, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	value := jsontext.Value(event)
	if !value.IsValid(jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true)) {
		return nil, fmt.Errorf("%s is not JSON", file)
	}
	return event, nil
}

// invoke sends one event to the function and prints its answer.
func invoke(ctx context.Context, s *stage.Stage, event []byte) error {
	answer, err := s.Function.Invoke(ctx, event)
	if err != nil {
		return err
	}
	fmt.Println(string(answer))
	return nil
}
