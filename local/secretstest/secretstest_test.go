package secretstest

import (
	"maps"
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

// step is a call and the answer that it must get.
type step struct {
	operation, input string
	status           int
	want             string
}

func (s *Server) follow(t *testing.T, steps []step) {
	t.Helper()
	for _, step := range steps {
		r := httptest.NewRequest("POST", "/", strings.NewReader(step.input))
		r.Header.Set("X-Amz-Target", "secretsmanager."+step.operation)
		r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=made-up")
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		if w.Code != step.status || !strings.Contains(w.Body.String(), step.want) {
			t.Errorf("%s %s: got %d %s, want %d and %s",
				step.operation, step.input, w.Code, w.Body, step.status, step.want)
		}
	}
}

// Ids of versions.
const (
	idA = "aaaaaaaa-0000-4000-8000-000000000000"
	idB = "bbbbbbbb-0000-4000-8000-000000000000"
	idC = "cccccccc-0000-4000-8000-000000000000"
)

func TestPutSecretValue(t *testing.T) {
	s := &Server{}
	arn := s.Create("name")
	const stage = `"VersionStages":["label"]`
	s.follow(t, []step{
		{"GetSecretValue", `{"SecretId":"name"}`, 400, "ResourceNotFoundException"}, // it has no value yet
		{"PutSecretValue", `{"SecretId":"other","ClientRequestToken":"` + idA + `","SecretString":"one"}`,
			400, "ResourceNotFoundException"},
		{"PutSecretValue", `{"SecretId":"name","SecretString":"one"}`, 400, "InvalidParameterException"},
		{"PutSecretValue", `{"SecretId":"` + arn + `","ClientRequestToken":"` + idA + `","SecretString":"one"}`,
			200, `"VersionStages":["AWSCURRENT"]`},
		{"GetSecretValue", `{"SecretId":"name"}`, 200, `"SecretString":"one"`},
		{"PutSecretValue", `{"SecretId":"name","ClientRequestToken":"` + idA + `","SecretString":"one"}`,
			200, `"VersionId":"` + idA},
		{"PutSecretValue", `{"SecretId":"name","ClientRequestToken":"` + idA + `","SecretString":"two"}`,
			400, "ResourceExistsException"},
		{"PutSecretValue", `{"SecretId":"name","ClientRequestToken":"` + idB + `","SecretString":"two",` + stage + `}`,
			200, stage},
		{"GetSecretValue", `{"SecretId":"name"}`, 200, `"SecretString":"one"`},
		{"GetSecretValue", `{"SecretId":"name","VersionStage":"label"}`, 200, `"SecretString":"two"`},
		{"PutSecretValue", `{"SecretId":"name","ClientRequestToken":"` + idC + `","SecretString":"three",` + stage + `}`,
			200, stage},
		{"GetSecretValue", `{"SecretId":"name","VersionId":"` + idB + `"}`, 200, `"VersionStages":[]`},
		{"GetSecretValue", `{"SecretId":"name","VersionId":"` + idB + `","VersionStage":"label"}`,
			400, "ResourceNotFoundException"},
		{"DeleteSecret", `{"SecretId":"name"}`, 400, "UnknownOperationException"},
	})

	s.Create("staged")
	s.follow(t, []step{{
		"PutSecretValue", `{"SecretId":"staged","ClientRequestToken":"` + idA + `","SecretString":"one",` + stage + `}`,
		200, `"VersionStages":["AWSCURRENT","label"]`, // a first version is always the current one
	}})
}

func TestUpdateSecretVersionStage(t *testing.T) {
	s := &Server{}
	s.Create("name")
	put := func(id string) step {
		fields := `"ClientRequestToken":"` + id + `","SecretString":"of ` + id + `","VersionStages":["label"]`
		return step{"PutSecretValue", `{"SecretId":"name",` + fields + `}`, 200, id}
	}
	move := func(fields string, status int, want string) step {
		return step{"UpdateSecretVersionStage", `{"SecretId":"name",` + fields + `}`, status, want}
	}
	const current, to, from = `"VersionStage":"AWSCURRENT"`, `,"MoveToVersionId":"`, `,"RemoveFromVersionId":"`
	const refused = "InvalidParameterException"
	s.follow(t, []step{
		put(idA), put(idB),
		move(current+to+idB+`"`, 400, refused),
		move(current+to+idC+`"`+from+idA+`"`, 400, refused),
		move(current+to+idB+`"`+from+idB+`"`, 400, refused),
		move(current+from+idA+`"`, 400, refused),
		move(current, 400, refused),
		move(`"MoveToVersionId":"`+idB+`"`, 400, refused),
		{"GetSecretValue", `{"SecretId":"name"}`, 200, `"VersionId":"` + idA},

		move(current+to+idB+`"`+from+idA+`"`, 200, `"Name":"name"`),
		{"GetSecretValue", `{"SecretId":"name"}`, 200, `"VersionStages":["AWSCURRENT","label"]`},
		{"GetSecretValue", `{"SecretId":"name","VersionStage":"AWSPREVIOUS"}`, 200, `"VersionId":"` + idA},
		move(current+to+idB+`"`, 200, ""), // it has the label already
		put(idC),
		move(current+to+idC+`"`+from+idA+`"`, 400, refused), // somebody else moved it
		move(`"VersionStage":"label"`+from+idC+`"`, 200, ""),
		{"GetSecretValue", `{"SecretId":"name","VersionStage":"label"}`, 400, "ResourceNotFoundException"},
		{"GetSecretValue", `{"SecretId":"name"}`, 200, `"SecretString":"of ` + idB},

		{"DescribeSecret", `{"SecretId":"name"}`, 200,
			`"VersionIdsToStages":{"` + idA + `":["AWSPREVIOUS"],"` + idB + `":["AWSCURRENT"]}`},
		move(`"VersionStage":"AWSPREVIOUS"`+from+idB+`"`, 400, refused),
		move(`"VersionStage":"AWSPREVIOUS"`+from+idA+`"`, 200, ""),
		{"DescribeSecret", `{"SecretId":"name"}`, 200, `"VersionIdsToStages":{"` + idB + `":["AWSCURRENT"]}`},
		{"GetSecretValue", `{"SecretId":"name","VersionId":"` + idA + `"}`, 200, `"SecretString":"of ` + idA},
		{"DescribeSecret", `{"SecretId":"other"}`, 400, "ResourceNotFoundException"},
	})
	s.PutLabelled("name", "theirs", "AWSPENDING", "backup")
	want := map[string]string{"AWSCURRENT": "of " + idB, "AWSPENDING": "theirs", "backup": "theirs"}
	if got := s.Labelled("name"); !maps.Equal(got, want) {
		t.Errorf("got the labelled texts %v, want %v", got, want)
	}
	if got := s.Value("name"); got != "of "+idB {
		t.Errorf("got the current value %q, want that of %s", got, idB)
	}
}
