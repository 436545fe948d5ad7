package secretvalue

import (
	"encoding/json/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
)

// The signing secret is long enough to arrive in pieces. With the SDK's own request
// body, three in a hundred such reads were cut off on two processors, and the SDK repeated
// them up to a second later. See [detachBody].
func TestLongSecretIsReadInOneRequest(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "a")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "b")
	const reads, piece = 200, 3000
	answer, err := json.Marshal(map[string]string{"SecretString": strings.Repeat("a", 4*piece)})
	if err != nil {
		t.Fatal(err)
	}
	var requests atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		requests.Add(1)
		for rest := answer; len(rest) > 0; rest = rest[min(len(rest), piece):] {
			_, _ = w.Write(rest[:min(len(rest), piece)])
			_ = http.NewResponseController(w).Flush()
			time.Sleep(time.Millisecond)
		}
	}))
	defer server.Close()
	sdk, err := config.LoadDefaultConfig(t.Context(),
		config.WithRegion("us-east-1"), config.WithBaseEndpoint(server.URL))
	if err != nil {
		t.Fatal(err)
	}
	api := secretsmanager.NewFromConfig(sdk)
	for range reads {
		if text, failure := Read(t.Context(), api, "id"); failure != nil || len(text) != 4*piece {
			t.Fatalf("got %d characters, %+v, want %d", len(text), failure, 4*piece)
		}
	}
	if got := requests.Load(); got != reads {
		t.Errorf("got %d requests for %d reads, want one each", got, reads)
	}
}
