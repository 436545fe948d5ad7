package secretvalue

import (
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"wechat-phone/local/secretstest"
)

// The signing secret is long enough to arrive in pieces. With the SDK's own request
// body, three in a hundred such reads were cut off on two processors, and the SDK repeated
// them up to a second later. See [OwnBodies].
func TestLongSecretIsReadInOneRequest(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "a")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "b")
	const reads = 200
	long := &secretstest.Long{Text: strings.Repeat("a", 12000)}
	server := httptest.NewServer(long)
	defer server.Close()
	sdk, err := config.LoadDefaultConfig(t.Context(),
		config.WithRegion("us-east-1"), config.WithBaseEndpoint(server.URL))
	if err != nil {
		t.Fatal(err)
	}
	api := secretsmanager.NewFromConfig(sdk)
	for range reads {
		if text, failure := Read(t.Context(), api, "id"); failure != nil || text != long.Text {
			t.Fatalf("got %d characters, %+v, want %d", len(text), failure, len(long.Text))
		}
	}
	if got := long.Requests.Load(); got != reads {
		t.Errorf("got %d requests for %d reads, want one each", got, reads)
	}
}
