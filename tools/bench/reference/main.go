// Command reference is the smallest function that does what every such function must
// do. It reads a secret at start. For each event it calls WeChat over a kept
// connection and logs a line. Without a secret, it is a hello world. The benchmark
// compares the phone function with it.
package main

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-lambda-go/lambdacontext"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
)

func main() {
	id, url := os.Getenv("WECHAT_SECRET_ID"), os.Getenv("WECHAT_API_BASE_URL")
	if id == "" {
		lambda.Start(func() (map[string]int, error) { return map[string]int{"statusCode": http.StatusOK}, nil })
	}
	sdk, err := config.LoadDefaultConfig(context.Background())
	if err != nil {
		panic(err)
	}
	in := &secretsmanager.GetSecretValueInput{SecretId: &id}
	if _, err := secretsmanager.NewFromConfig(sdk).GetSecretValue(context.Background(), in); err != nil {
		panic(err)
	}
	logger := lambdacontext.NewLogger()
	lambda.StartHandlerFunc(func(ctx context.Context, _ json.RawMessage) (map[string]int, error) {
		answer, err := http.Get(url)
		if err != nil {
			return nil, err
		}
		defer func() { _ = answer.Body.Close() }()
		text, err := io.ReadAll(answer.Body)
		logger.InfoContext(ctx, "request", "bytes", len(text))
		return map[string]int{"statusCode": answer.StatusCode}, err
	})
}
