// Command local runs the phone function on this machine, against mock servers
// for everything in the cloud. Run it with make run, make start or make invoke. Its
// flag -h lists the others.
package main

import (
	"bytes"
	"context"
	"encoding/json/jsontext"
	"encoding/json/v2"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"

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

	s, err := stage.Raise(o.stage)
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

// printUsage prints the stage's URLs. If WeChat is the mock, it also prints
// commands to try.
func printUsage(s *stage.Stage, mocked bool) {
	fmt.Printf("phone function   %s/phone\n", s.URL)
	if mocked {
		fmt.Printf("WeChat           %s\nSecrets Manager  %s\n\n", s.WeChatURL, s.SecretsURL)
		fmt.Printf("A complete login:\n\n  curl -s %s/tap | curl -s --json @- %s/phone\n\n", s.WeChatURL, s.URL)
		fmt.Print("The same with a phone code:\n\n")
		fmt.Printf("  curl -s '%s/tap?shape=phone-code' | curl -s --json @- %s/phone\n\n", s.WeChatURL, s.URL)
		fmt.Print("The second mini-program:\n\n")
		fmt.Printf("  curl -s '%s/tap?appid=%s' | curl -s --json @- %s/phone\n\n", s.WeChatURL, stage.SecondAppID, s.URL)
	}
	fmt.Println("Press Ctrl-C to stop.")
}

// options holds the settings from the flags and the environment.
type options struct {
	stage stage.Config
	event []byte // to send to the function, if not nil
	login bool
}

// readOptions reads the flags, the environment and the files that the flags name.
func readOptions() (options, error) {
	o := options{stage: stage.Config{Logs: os.Stderr}}
	config := &o.stage
	flag.StringVar(&config.Bootstrap, "bootstrap", "", "run this `executable`; if empty, compile the function")
	flag.StringVar(&config.Host, "host", "127.0.0.1", "listen on this `address`; containers need 0.0.0.0")
	flag.IntVar(&config.Port, "port", 0,
		"listen on this `port`, and on the next two for WeChat and Secrets Manager; 0 picks free ports")
	flag.StringVar(&config.Route, "route", "",
		"answer 404 to every other route, as the deployed gateway does: `\"POST /phone\"`")
	flag.IntVar(&config.Concurrency, "concurrency", 1, "run up to `n` invocations at once in one process")
	flag.StringVar(&config.WeChatURL, "wechat", "", "call WeChat at this `URL` instead of the mock; needs -secret")
	secretFile := flag.String("secret", "", `read the secret from this `+"`file`"+`: {"appid":"wx…","secret":"…"}`)
	eventFile := flag.String("event", "", "send the event in this `file` to the function, print the answer and exit")
	flag.BoolVar(&o.login, "login", false,
		"log in, tap and post, print each step and exit; fail if no phone number comes back")
	flag.Parse()
	if flag.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q", flag.Arg(0))
	}

	// Pass the function's own settings through.
	for _, name := range []string{
		"WECHAT_TIMEOUT", "WATERMARK_MAX_AGE", "VERIFY_ENCRYPTED_DATA", "REQUIRE_LOGIN_CODE",
	} {
		if value, ok := os.LookupEnv(name); ok {
			config.Env = append(config.Env, name+"="+value)
		}
	}
	if (config.WeChatURL == "") != (*secretFile == "") {
		return o, errors.New("-wechat and -secret must be used together")
	}
	if *secretFile != "" {
		text, err := os.ReadFile(*secretFile) // #nosec G304 -- the developer names it
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
	event, err := os.ReadFile(file) // #nosec G304 -- the developer names it
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

// logIn plays a mini-program and its user, once with sealed data and once with a
// phone code.
func logIn(ctx context.Context, s *stage.Stage) error {
	for i, shape := range []struct{ query, gives string }{
		{"", "a login code and the sealed phone number"},
		{"?shape=phone-code", "a login code and, as in newer versions of WeChat, a phone code"},
	} {
		step := func(n int) string { return fmt.Sprintf("%d.", 3*i+n) }
		fmt.Println(step(1), "The page calls wx.login(); the user taps the getPhoneNumber button. The page now has",
			shape.gives+":")
		tap, _, err := call(ctx, http.MethodGet, s.WeChatURL+"/tap"+shape.query, nil)
		if err != nil {
			return err
		}
		show(tap)
		fmt.Println(step(2), "The page posts them to", s.URL+"/phone and gets:")
		answer, status, err := call(ctx, http.MethodPost, s.URL+"/phone", tap)
		if err != nil {
			return err
		}
		show(answer)
		var phone struct {
			PhoneNumber string `json:"phoneNumber"`
		}
		if status != http.StatusOK || json.Unmarshal(answer, &phone) != nil || phone.PhoneNumber == "" {
			return fmt.Errorf("got status %d without a phone number", status)
		}
		fmt.Println(step(3), "The user's phone number is", phone.PhoneNumber)
	}
	return nil
}

func call(ctx context.Context, method, url string, body []byte) (answer []byte, status int, err error) {
	r, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return nil, 0, err
	}
	r.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, 0, err
	}
	defer func() { _ = response.Body.Close() }()
	answer, err = io.ReadAll(response.Body)
	return answer, response.StatusCode, err
}

// show prints JSON, indented and followed by an empty line.
func show(text []byte) {
	value := jsontext.Value(bytes.Clone(text))
	if value.Indent(jsontext.WithIndentPrefix("   ")) == nil {
		text = value
	}
	fmt.Printf("   %s\n\n", strings.TrimSpace(string(text)))
}
