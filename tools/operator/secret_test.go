package operator

import (
	"net/http/httptest"
	"strings"
	"testing"

	"wechat-phone/local/secretstest"
)

// The list of signing keys arrives in pieces. With the SDK's own request body, some reads
// were cut off, and the SDK printed a warning between the command's lines.
func TestLongSecretIsReadInOneRequest(t *testing.T) {
	const reads = 200
	long := &secretstest.Long{Text: strings.Repeat("a", 12000)}
	server := httptest.NewServer(long)
	defer server.Close()
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_ENDPOINT_URL": server.URL,
	} {
		t.Setenv(name, value)
	}
	stack := map[string]string{"Output": "arn:aws:secretsmanager:us-east-1:123456789012:secret:name-AbCdEf"}
	s, err := Open(t.Context(), stack, "Output", "STAGED", "-show")
	if err != nil {
		t.Fatal(err)
	}
	for range reads {
		if v, err := s.Read(t.Context()); err != nil || v.Text == nil || *v.Text != long.Text {
			t.Fatalf("got the version %q, %v, want the secret", v.ID, err)
		}
	}
	if got := long.Requests.Load(); got != reads {
		t.Errorf("got %d requests for %d reads, want one each", got, reads)
	}
}
