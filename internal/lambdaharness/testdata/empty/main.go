// Command empty is the least that a function in Go is: what a start costs before there is a program.
package main

import (
	"encoding/json"

	"github.com/aws/aws-lambda-go/lambda"
)

func main() {
	lambda.Start(func(json.RawMessage) (json.RawMessage, error) { return json.RawMessage(`{}`), nil })
}
