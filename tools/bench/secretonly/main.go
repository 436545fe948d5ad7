// Command secretonly is the smallest function that reads a secret at its start:
// what the phone function's start is measured against.
package main

import (
	"context"
	"encoding/json"
	"os"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
)

func main() {
	id := os.Getenv("WECHAT_SECRET_ID")
	sdk, err := config.LoadDefaultConfig(context.Background())
	if err != nil {
		panic(err)
	}
	out, err := secretsmanager.NewFromConfig(sdk).GetSecretValue(context.Background(), &secretsmanager.GetSecretValueInput{SecretId: &id})
	if err != nil {
		panic(err)
	}
	lambda.StartHandlerFunc(func(context.Context, json.RawMessage) (string, error) { return *out.ARN, nil })
}
