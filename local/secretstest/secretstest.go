// Package secretstest is a mock of AWS Secrets Manager. It serves DescribeSecret,
// GetSecretValue, PutSecretValue and UpdateSecretVersionStage over the AWS JSON 1.1
// protocol, from secrets in memory.
//
// https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_Operations.html
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
	versions []version
	labels   map[string]string // a version's id by staging label
}

type version struct {
	id    string
	text  string
	bytes []byte // if not nil, the secret is binary and has no text
}

// The staging labels that Secrets Manager itself moves.
const (
	current  = "AWSCURRENT"
	previous = "AWSPREVIOUS"
)

// Put makes text the current value of a secret and returns the secret's ARN. It
// creates the secret if necessary.
func (s *Server) Put(name, text string) (arn string) { return s.put(name, version{text: text}) }

// PutLabelled adds a version with these staging labels, which need not be the current
// one.
func (s *Server) PutLabelled(name, text string, labels ...string) {
	s.put(name, version{text: text}, labels...)
}

// PutBinary is like [Server.Put], for a binary secret.
func (s *Server) PutBinary(name string, bytes []byte) (arn string) {
	return s.put(name, version{bytes: bytes})
}

func (s *Server) put(name string, v version, labels ...string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	sec := s.create(name)
	v.id = fmt.Sprintf("00000000-0000-4000-8000-%012d", len(sec.versions)+1)
	sec.add(v, labels)
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
		s.secrets[name] = &secret{
			arn:    "arn:aws:secretsmanager:us-east-1:123456789012:secret:" + name + "-AbCdEf",
			labels: map[string]string{},
		}
	}
	return s.secrets[name]
}

// add adds a version and attaches the labels to it. Like AWS, it makes a version
// without labels, and a secret's first version, the current one.
func (sec *secret) add(v version, labels []string) {
	if len(labels) == 0 || len(sec.versions) == 0 {
		sec.attach(current, v.id)
	}
	sec.versions = append(sec.versions, v)
	for _, label := range labels {
		sec.attach(label, v.id)
	}
}

// attach moves a label to a version. If AWSCURRENT leaves a version, AWSPREVIOUS
// moves there.
func (sec *secret) attach(label, id string) {
	if before := sec.labels[label]; label == current && before != "" && before != id {
		sec.labels[previous] = before
	}
	sec.labels[label] = id
}

// labelsOf returns a version's labels.
func (sec *secret) labelsOf(id string) []string {
	labels := []string{}
	for label, labelled := range sec.labels {
		if labelled == id {
			labels = append(labels, label)
		}
	}
	slices.Sort(labels)
	return labels
}

// version returns the version with an id, or nil if there is none.
func (sec *secret) version(id string) *version {
	for i := range sec.versions {
		if sec.versions[i].id == id {
			return &sec.versions[i]
		}
	}
	return nil
}

// Value returns a secret's current text.
func (s *Server) Value(name string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	sec := s.secrets[name]
	return sec.version(sec.labels[current]).text
}

// Labelled returns the texts of a secret's versions by staging label.
func (s *Server) Labelled(name string) map[string]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	texts := map[string]string{}
	for label, id := range s.secrets[name].labels {
		texts[label] = s.secrets[name].version(id).text
	}
	return texts
}

// Delete deletes a secret.
func (s *Server) Delete(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.secrets, name)
}

// Fail makes fault answer every call. A nil fault ends that.
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

// input has the fields of all calls.
type input struct {
	SecretId, VersionId, VersionStage, ClientRequestToken, SecretString string
	MoveToVersionId, RemoveFromVersionId                                string
	VersionStages                                                       []string
}

// call returns the function that answers an operation, or nil if the mock does not
// know the operation. The function returns the output, without the secret's name and
// ARN, or AWS's error code.
func call(operation string) func(*secret, input) (output map[string]any, code string) {
	switch operation {
	case "DescribeSecret":
		return (*secret).describe
	case "GetSecretValue":
		return (*secret).get
	case "PutSecretValue":
		return (*secret).put
	case "UpdateSecretVersionStage":
		return (*secret).move
	}
	return nil
}

// Answer answers a call from the secrets, even while [Server.Fail] is in effect. A
// fault can call it to succeed in the end.
func (s *Server) Answer(w http.ResponseWriter, r *http.Request) {
	operation, _ := strings.CutPrefix(r.Header.Get("X-Amz-Target"), "secretsmanager.")
	answer := call(operation)
	if r.Method != http.MethodPost || answer == nil {
		Fault(http.StatusBadRequest, "UnknownOperationException", "")(w, r)
		return
	}
	if !strings.HasPrefix(r.Header.Get("Authorization"), "AWS4-HMAC-SHA256 ") {
		Fault(http.StatusBadRequest, "MissingAuthenticationTokenException", "Missing Authentication Token")(w, r)
		return
	}
	var in input
	if json.UnmarshalRead(r.Body, &in) != nil {
		Fault(http.StatusBadRequest, "SerializationException", "")(w, r)
		return
	}

	s.mu.Lock()
	var output map[string]any
	code := notFound
	name, sec := s.find(in.SecretId)
	if sec != nil {
		output, code = answer(sec, in)
	}
	s.mu.Unlock()

	if code != "" {
		Fault(http.StatusBadRequest, code, "Secrets Manager refuses this call.")(w, r)
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

// The codes of AWS's errors.
const (
	notFound = "ResourceNotFoundException"
	exists   = "ResourceExistsException"
	invalid  = "InvalidParameterException"
)

// describe leaves out versions without a label.
func (sec *secret) describe(input) (output map[string]any, code string) {
	labelled := map[string][]string{}
	for _, id := range sec.labels {
		labelled[id] = sec.labelsOf(id)
	}
	return map[string]any{"VersionIdsToStages": labelled}, ""
}

func (sec *secret) get(in input) (output map[string]any, code string) {
	id := in.VersionId
	if id == "" && in.VersionStage == "" {
		in.VersionStage = current
	}
	if in.VersionStage != "" {
		id = sec.labels[in.VersionStage]
	}
	v := sec.version(id)
	if v == nil || in.VersionId != "" && in.VersionId != id {
		return nil, notFound
	}
	output = map[string]any{
		"VersionId": id, "VersionStages": sec.labelsOf(id), "CreatedDate": float64(time.Now().Unix()),
	}
	if v.bytes != nil {
		output["SecretBinary"] = v.bytes
	} else {
		output["SecretString"] = v.text
	}
	return output, ""
}

// put is idempotent: if a version already has the token as its id and the same text,
// it returns that version.
func (sec *secret) put(in input) (output map[string]any, code string) {
	id := in.ClientRequestToken
	switch v := sec.version(id); {
	case len(id) < 32 || len(id) > 64:
		return nil, invalid
	case v == nil:
		sec.add(version{id: id, text: in.SecretString}, in.VersionStages)
	case v.text != in.SecretString:
		return nil, exists
	}
	return map[string]any{"VersionId": id, "VersionStages": sec.labelsOf(id)}, ""
}

// move refuses to take a label from a version that the caller does not name.
func (sec *secret) move(in input) (output map[string]any, code string) {
	holder, to, from := sec.labels[in.VersionStage], in.MoveToVersionId, in.RemoveFromVersionId
	switch {
	case in.VersionStage == "", to == "" && from == "", to == "" && in.VersionStage == current,
		to != "" && sec.version(to) == nil, from != "" && from != holder,
		from == "" && holder != "" && holder != to:
		return nil, invalid
	case to == "":
		delete(sec.labels, in.VersionStage)
	default:
		sec.attach(in.VersionStage, to)
	}
	return map[string]any{}, ""
}
