package secretstest

import (
	"net/http/httptest"
	"strings"
	"testing"
)

func TestGetSecretValue(t *testing.T) {
	s := &Server{}
	arn := s.Put("name", "one")
	s.Put("name", "two")
	s.Put("name", "three")
	s.PutBinary("binary", []byte{1, 2})
	for _, test := range []struct {
		input  string
		status int
		want   string
	}{
		{`{"SecretId":"name"}`, 200, `"SecretString":"three"`},
		{`{"SecretId":"name"}`, 200, `"VersionStages":["AWSCURRENT"]`},
		{`{"SecretId":"` + arn + `"}`, 200, `"SecretString":"three"`},
		{`{"SecretId":"` + strings.TrimSuffix(arn, "-AbCdEf") + `"}`, 200, `"SecretString":"three"`},
		{`{"SecretId":"name","VersionStage":"AWSPREVIOUS"}`, 200, `"SecretString":"two"`},
		{`{"SecretId":"name","VersionStage":"AWSPENDING"}`, 400, `"__type":"ResourceNotFoundException"`},
		{`{"SecretId":"name","VersionId":"00000000-0000-4000-8000-000000000001"}`, 200, `"SecretString":"one"`},
		{`{"SecretId":"binary"}`, 200, `"SecretBinary":"AQI="`},
		{`{"SecretId":"other"}`, 400, `"__type":"ResourceNotFoundException"`},
		{`{`, 400, `"__type":"SerializationException"`},
	} {
		r := httptest.NewRequest("POST", "/", strings.NewReader(test.input))
		r.Header.Set("X-Amz-Target", "secretsmanager.GetSecretValue")
		r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=made-up")
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		if w.Code != test.status || !strings.Contains(w.Body.String(), test.want) {
			t.Errorf("%s: got %d %s, want %d and %s", test.input, w.Code, w.Body, test.status, test.want)
		}
		r.Header.Del("Authorization")
		w = httptest.NewRecorder()
		if s.ServeHTTP(w, r); w.Code != 400 || !strings.Contains(w.Body.String(), "MissingAuthenticationToken") {
			t.Errorf("without a signature: got %d %s, want 400 and MissingAuthenticationToken", w.Code, w.Body)
		}
	}
	s.Fail(Fault(400, "ThrottlingException", "Rate exceeded"))
	r := httptest.NewRequest("POST", "/", strings.NewReader(`{"SecretId":"name"}`))
	r.Header.Set("X-Amz-Target", "secretsmanager.GetSecretValue")
	r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=made-up")
	w := httptest.NewRecorder()
	const want = `{"Message":"Rate exceeded","__type":"ThrottlingException"}`
	if s.ServeHTTP(w, r); w.Code != 400 || w.Body.String() != want {
		t.Errorf("throttled: got %d %s, want 400 %s", w.Code, w.Body, want)
	}
	if s.Calls() != 21 {
		t.Errorf("got %d calls, want 21", s.Calls())
	}
}

func TestPutSecretValue(t *testing.T) {
	s := &Server{}
	arn := s.Create("name")
	call := func(operation, input string) (status int, body string) {
		r := httptest.NewRequest("POST", "/", strings.NewReader(input))
		r.Header.Set("X-Amz-Target", "secretsmanager."+operation)
		r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=made-up")
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		return w.Code, w.Body.String()
	}
	for _, step := range []struct {
		operation, input string
		status           int
		want             string
	}{
		{"GetSecretValue", `{"SecretId":"name"}`, 400, "ResourceNotFoundException"}, // it has no value yet
		{"PutSecretValue", `{"SecretId":"other","SecretString":"one"}`, 400, "ResourceNotFoundException"},
		{"PutSecretValue", `{"SecretId":"` + arn + `","SecretString":"one"}`, 200, `"VersionStages":["AWSCURRENT"]`},
		{"GetSecretValue", `{"SecretId":"name"}`, 200, `"SecretString":"one"`},
		{"DeleteSecret", `{"SecretId":"name"}`, 400, "UnknownOperationException"},
	} {
		status, body := call(step.operation, step.input)
		if status != step.status || !strings.Contains(body, step.want) {
			t.Errorf("%s %s: got %d %s, want %d and %s",
				step.operation, step.input, status, body, step.status, step.want)
		}
	}
}
