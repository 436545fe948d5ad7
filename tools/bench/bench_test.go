package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"testing"
	"time"
)

// around returns the figures of 21 rounds, from x-10*step to x+10*step.
func around(x, step float64) (s sample) {
	for i := range 21 {
		s = append(s, x+step*float64((i*8)%21-10))
	}
	return s
}

func TestVerdictCoversTheWholeRangeOfTheMedian(t *testing.T) {
	for _, tt := range []struct {
		row  row
		want string
	}{
		{row{figure: around(50, 1), limit: 100}, "held"},
		{row{figure: around(150, 1), limit: 100}, "not held"},
		{row{figure: around(96, 1), limit: 100}, "too noisy to tell"},
		{row{figure: around(104, 1), limit: 100}, "too noisy to tell"},
		{row{figure: sample{6}, limit: 6}, "held"},
		{row{figure: sample{99, 101}, limit: 100}, "too noisy to tell"},
		{row{figure: around(1.04, 0.01)}, "no difference"},
		{row{figure: around(0.96, 0.01)}, "no difference"},
		{row{figure: around(1.06, 0.01)}, "more"},
		{row{figure: around(0.94, 0.01)}, "less"},
	} {
		if got := tt.row.verdict(); got != tt.want {
			t.Errorf("%v with limit %v: got %s, want %s", tt.row.figure, tt.row.limit, got, tt.want)
		}
	}
	// The bounds are the 6th and the 16th figure. With a probability of 1.3 %, 5 or
	// fewer of 21 lie on one side of the median. For 6 or fewer it is 3.9 %.
	if low, middle, high := around(0, 1).median(); low != -5 || middle != 0 || high != 5 {
		t.Errorf("got a median of %v, in %v to %v, want 0, in -5 to 5", middle, low, high)
	}
}

func TestRatiosAreTakenWithinEachRound(t *testing.T) {
	rows := ratios("start", 1.1, []sample{{2, 9, 3}, {4, 9, 4}, {1, 3, 3}}, "ms", "alone")
	want := []row{
		{what: "start", figure: sample{0.5, 1, 0.75}, limit: 1.1, details: "3 ms, alone 4 ms"},
		{what: "start, against the other build", figure: sample{2, 3, 1}, details: "3 ms, the other 3 ms"},
	}
	if !reflect.DeepEqual(rows, want) {
		t.Errorf("ratios = %v, want %v", rows, want)
	}
}

func TestFarServerAnswersOneRoundTripLater(t *testing.T) {
	s := httptest.NewUnstartedServer(http.NotFoundHandler())
	s.Listener = farListener{s.Listener}
	s.StartTLS()
	defer s.Close()
	get := func() time.Duration {
		began := time.Now()
		answer, err := s.Client().Get(s.URL)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, answer.Body)
		_ = answer.Body.Close()
		return time.Since(began)
	}
	if took := get(); took < 2*roundTrip { // one for TLS and one for the answer
		t.Errorf("new connection: got an answer after %v, want at least %v", took, 2*roundTrip)
	}
	least := get()
	for range 4 { // take the least, because the machine may be busy
		least = min(least, get())
	}
	if least < roundTrip || least > 2*roundTrip {
		t.Errorf("kept connection: got an answer after %v, want %v to %v", least, roundTrip, 2*roundTrip)
	}
}

func TestTemplateEnvironmentIsRead(t *testing.T) {
	env, err := templateEnvironment("../../template.yaml")
	slices.Sort(env)
	if want := []string{"GOMAXPROCS=1", "SSL_CERT_DIR=/nonexistent"}; err != nil || !slices.Equal(env, want) {
		t.Errorf("templateEnvironment = %v, %v, want %v", env, err, want)
	}
}
