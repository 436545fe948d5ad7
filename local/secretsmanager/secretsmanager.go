// Package secretsmanager stands in for AWS Secrets Manager: GetSecretValue, over
// the AWS JSON 1.1 protocol, for secrets held in memory.
//
// https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_GetSecretValue.html
package secretsmanager

import (
	"encoding/json/v2"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// Server is an http.Handler. Its zero value holds no secret.
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
	bytes []byte // a binary secret, where not nil
}

// Put gives a secret a new value, which becomes AWSCURRENT, and returns the
// secret's ARN.
func (s *Server) Put(name, text string) (arn string) { return s.put(name, version{text: text}) }

// PutBinary is Put for a secret without text.
func (s *Server) PutBinary(name string, bytes []byte) (arn string) {
	return s.put(name, version{bytes: bytes})
}

func (s *Server) put(name string, v version) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.secrets == nil {
		s.secrets = map[string]*secret{}
	}
	if s.secrets[name] == nil {
		s.secrets[name] = &secret{arn: "arn:aws:secretsmanager:us-east-1:123456789012:secret:" + name + "-AbCdEf"}
	}
	held := s.secrets[name]
	v.id = fmt.Sprintf("00000000-0000-4000-8000-%012d", len(held.versions)+1)
	held.versions = append(held.versions, v)
	return held.arn
}

// Delete forgets a secret.
func (s *Server) Delete(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.secrets, name)
}

// Fail makes every call end in fault instead, until it is nil.
func (s *Server) Fail(fault http.HandlerFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = fault
}

// Calls returns how many requests have come in.
func (s *Server) Calls() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls
}

// Fault answers with an error of AWS's, as in
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

// Answer is ServeHTTP without the fault, for faults that end well.
func (s *Server) Answer(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost || r.Header.Get("X-Amz-Target") != "secretsmanager.GetSecretValue" {
		Fault(http.StatusBadRequest, "UnknownOperationException", "")(w, r)
		return
	}
	if !strings.HasPrefix(r.Header.Get("Authorization"), "AWS4-HMAC-SHA256 ") {
		Fault(http.StatusBadRequest, "MissingAuthenticationTokenException", "Missing Authentication Token")(w, r)
		return
	}
	var input struct{ SecretId, VersionId, VersionStage string }
	if json.UnmarshalRead(r.Body, &input) != nil {
		Fault(http.StatusBadRequest, "SerializationException", "")(w, r)
		return
	}

	s.mu.Lock()
	output := s.find(input.SecretId, input.VersionId, input.VersionStage)
	s.mu.Unlock()

	switch {
	case output == nil:
		Fault(http.StatusBadRequest, "ResourceNotFoundException", "Secrets Manager can't find the specified secret.")(w, r)
	default:
		reply(w, http.StatusOK, output)
	}
}

// find returns what GetSecretValue answers, or nil. id is a name, a complete
// ARN, or an ARN without its last six characters. The caller holds mu.
func (s *Server) find(id, versionID, stage string) map[string]any {
	for name, held := range s.secrets {
		if id != name && id != held.arn && id+"-AbCdEf" != held.arn {
			continue
		}
		for i, v := range held.versions {
			stages := []string{}
			switch len(held.versions) - 1 - i {
			case 0:
				stages = append(stages, "AWSCURRENT")
			case 1:
				stages = append(stages, "AWSPREVIOUS")
			}
			if versionID != "" && v.id != versionID ||
				stage != "" && !slices.Contains(stages, stage) ||
				versionID == "" && stage == "" && i != len(held.versions)-1 {
				continue
			}
			output := map[string]any{
				"ARN": held.arn, "Name": name, "VersionId": v.id, "VersionStages": stages,
				"CreatedDate": float64(time.Now().Unix()),
			}
			if v.bytes != nil {
				output["SecretBinary"] = v.bytes
			} else {
				output["SecretString"] = v.text
			}
			return output
		}
	}
	return nil
}
