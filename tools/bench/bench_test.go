package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"
)

func TestVerdictTakesTheMedianAndAllThatItMayBe(t *testing.T) {
	around := func(x float64) sample { // 21 rounds, from x-10 to x+10
		var s sample
		for i := range 21 {
			s = append(s, x+float64((i*8)%21-10))
		}
		return s
	}
	for _, test := range []struct {
		row  row
		want string
	}{
		{row{figure: around(50), limit: 100}, "held"},
		{row{figure: around(150), limit: 100}, "not held"},
		{row{figure: around(96), limit: 100}, "too noisy to tell"},
		{row{figure: around(104), limit: 100}, "too noisy to tell"},
		{row{figure: sample{6}, limit: 6}, "held"},
		{row{figure: sample{99, 101}, limit: 100}, "too noisy to tell"},
		{row{figure: around(150)}, "no limit"},
		{row{limit: 100, missing: "no reason"}, "not measured: no reason"},
	} {
		if got := test.row.verdict(); got != test.want {
			t.Errorf("%v against %v: %s, want %s", test.row.figure, test.row.limit, got, test.want)
		}
	}
	// The 6th and the 16th: that 5 or fewer of 21 lie on one side of the median has
	// a probability of 1.3 %, and 6 or fewer one of 3.9 %.
	if low, middle, high := around(0).median(); low != -5 || middle != 0 || high != 5 {
		t.Errorf("the median of 21 is %v, in %v to %v", middle, low, high)
	}
}

func TestFarServerAnswersARoundTripLater(t *testing.T) {
	s := httptest.NewUnstartedServer(http.NotFoundHandler())
	s.Listener = far{s.Listener}
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
	if took := get(); took < 2*roundTrip { // TLS's, and the answer's
		t.Errorf("a new connection answered after %v", took)
	}
	least := get()
	for range 4 { // of several, since the machine may be busy
		least = min(least, get())
	}
	if least < roundTrip || least > 2*roundTrip {
		t.Errorf("a kept connection answered after %v", least)
	}
}

func TestTemplateEnvironmentIsRead(t *testing.T) {
	env, err := templateEnvironment("../../template.yaml")
	slices.Sort(env)
	if want := []string{"GOMAXPROCS=1", "SSL_CERT_DIR=/nonexistent"}; err != nil || !slices.Equal(env, want) {
		t.Errorf("%v, %v, want %v", env, err, want)
	}
}
