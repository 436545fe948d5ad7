// Command hello is the smallest function that does what no phone function can do
// without: it asks WeChat over a kept connection, and logs a line. A warm request
// of the phone function is measured against it.
package main

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-lambda-go/lambdacontext"
)

func main() {
	url := os.Getenv("URL")
	logger := lambdacontext.NewLogger()
	lambda.StartHandlerFunc(func(ctx context.Context, _ json.RawMessage) (string, error) {
		answer, err := http.Get(url) // #nosec G107 G704 -- the bench's own server
		if err != nil {
			return "", err
		}
		defer func() { _ = answer.Body.Close() }()
		text, err := io.ReadAll(answer.Body)
		if err != nil {
			return "", err
		}
		logger.InfoContext(ctx, "request", "bytes", len(text))
		return "hello, world", nil
	})
}
