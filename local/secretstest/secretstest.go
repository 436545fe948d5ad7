// Package secretstest is a mock of AWS Secrets Manager. It serves GetSecretValue and
// PutSecretValue over the AWS JSON 1.1 protocol, from secrets in memory.
//
// https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_GetSecretValue.html
package secretstest

import (
	"encoding/json/v2"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// Server is an [http.Handler] and safe for concurrent use. Its zero value holds no
// secret.
type Server struct {
	mu      sync.Mutex
	secrets map[string]*secret // by name
	fault   http.HandlerFunc
	calls   int
}

type secret struct {
	arn      string
	versions []version // the last is AWSCURRENT, the one before it AWSPREVIOUS
}

type version struct {
	id    string
	text  string
	bytes []byte // if not nil, the secret is binary and has no text
}

// Put makes text the current value of a secret and returns the secret's ARN. It
// creates the secret if necessary.
func (s *Server) Put(name, text string) (arn string) { return s.put(name, version{text: text}) }

// PutBinary is like [Server.Put], for a binary secret.
func (s *Server) PutBinary(name string, bytes []byte) (arn string) {
	return s.put(name, version{bytes: bytes})
}

func (s *Server) put(name string, v version) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	sec := s.create(name)
	sec.add(v)
	return sec.arn
}

// Create creates a secret without a value, as CloudFormation does, and returns its
// ARN.
func (s *Server) Create(name string) (arn string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.create(name).arn
}

// create returns the secret with a name. It creates the secret if necessary. The
// caller must hold mu.
func (s *Server) create(name string) *secret {
	if s.secrets == nil {
		s.secrets = map[string]*secret{}
	}
	if s.secrets[name] == nil {
		s.secrets[name] = &secret{arn: "arn:aws:secretsmanager:us-east-1:123456789012:secret:" + name + "-AbCdEf"}
	}
	return s.secrets[name]
}

func (sec *secret) add(v version) {
	v.id = fmt.Sprintf("00000000-0000-4000-8000-%012d", len(sec.versions)+1)
	sec.versions = append(sec.versions, v)
}

// Value returns a secret's current text.
func (s *Server) Value(name string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	versions := s.secrets[name].versions
	return versions[len(versions)-1].text
}

// Delete deletes a secret.
func (s *Server) Delete(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.secrets, name)
}

// Fail makes fault answer every call. Nil ends that.
func (s *Server) Fail(fault http.HandlerFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = fault
}

// Calls returns the number of calls so far.
func (s *Server) Calls() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls
}

// Fault answers with an AWS error, as in
// Fault(400, "ThrottlingException", "Rate exceeded").
func Fault(status int, code, message string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		reply(w, status, map[string]string{"__type": code, "Message": message})
	}
}

func reply(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	w.WriteHeader(status)
	_ = json.MarshalWrite(w, body, json.Deterministic(true))
}

func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.calls++
	fault := s.fault
	s.mu.Unlock()
	if fault != nil {
		fault(w, r)
		return
	}
	s.Answer(w, r)
}

// Answer answers a call from the secrets, even while [Server.Fail] is in effect. A
// fault can call it to succeed in the end.
func (s *Server) Answer(w http.ResponseWriter, r *http.Request) {
	operation, ok := strings.CutPrefix(r.Header.Get("X-Amz-Target"), "secretsmanager.")
	if r.Method != http.MethodPost || !ok || operation != "GetSecretValue" && operation != "PutSecretValue" {
		Fault(http.StatusBadRequest, "UnknownOperationException", "")(w, r)
		return
	}
	if !strings.HasPrefix(r.Header.Get("Authorization"), "AWS4-HMAC-SHA256 ") {
		Fault(http.StatusBadRequest, "MissingAuthenticationTokenException", "Missing Authentication Token")(w, r)
		return
	}
	var input struct{ SecretId, VersionId, VersionStage, SecretString string }
	if json.UnmarshalRead(r.Body, &input) != nil {
		Fault(http.StatusBadRequest, "SerializationException", "")(w, r)
		return
	}

	s.mu.Lock()
	var output map[string]any
	name, sec := s.find(input.SecretId)
	switch {
	case sec == nil:
	case operation == "GetSecretValue":
		output = sec.value(input.VersionId, input.VersionStage)
	default:
		sec.add(version{text: input.SecretString})
		output = map[string]any{
			"VersionId": sec.versions[len(sec.versions)-1].id, "VersionStages": []string{"AWSCURRENT"},
		}
	}
	s.mu.Unlock()

	if output == nil {
		const message = "Secrets Manager can't find the specified secret."
		Fault(http.StatusBadRequest, "ResourceNotFoundException", message)(w, r)
		return
	}
	output["ARN"], output["Name"] = sec.arn, name
	reply(w, http.StatusOK, output)
}

// find returns a secret and its name, or nil if there is none. id is a name, a
// complete ARN, or an ARN without its hyphen and last six characters. The caller
// must hold mu.
func (s *Server) find(id string) (string, *secret) {
	for name, sec := range s.secrets {
		if id == name || id == sec.arn || id+"-AbCdEf" == sec.arn {
			return name, sec
		}
	}
	return "", nil
}

// value returns the answer to GetSecretValue without the secret's name and ARN, or
// nil if there is no such version.
func (sec *secret) value(versionID, stage string) map[string]any {
	for i, v := range sec.versions {
		stages := []string{}
		switch len(sec.versions) - 1 - i {
		case 0:
			stages = append(stages, "AWSCURRENT")
		case 1:
			stages = append(stages, "AWSPREVIOUS")
		}
		if versionID != "" && v.id != versionID ||
			stage != "" && !slices.Contains(stages, stage) ||
			versionID == "" && stage == "" && i != len(sec.versions)-1 {
			continue
		}
		output := map[string]any{"VersionId": v.id, "VersionStages": stages, "CreatedDate": float64(time.Now().Unix())}
		if v.bytes != nil {
			output["SecretBinary"] = v.bytes
		} else {
			output["SecretString"] = v.text
		}
		return output
	}
	return nil
}
