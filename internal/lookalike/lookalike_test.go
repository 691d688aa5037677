package lookalike_test

import (
	"encoding/json"
	"testing"

	"coffer/internal/lookalike"
)

// TestServers starts each server and asks it something with the aws command-line client.
func TestServers(t *testing.T) {
	for _, c := range []struct {
		name string
		url  func(testing.TB) string
		args []string
		want string // member of the answer
	}{
		{"versitygw", lookalike.S3, []string{"s3api", "list-buckets"}, "Buckets"},
		{"DynamoDB Local", lookalike.DynamoDB, []string{"dynamodb", "list-tables"}, "TableNames"},
		{"moto", lookalike.Moto, []string{"kms", "list-keys"}, "Keys"},
	} {
		t.Run(c.name, func(t *testing.T) {
			url := c.url(t)
			if again := c.url(t); again != url {
				t.Fatal("started twice")
			}
			var got map[string]any
			if err := json.Unmarshal(lookalike.AWS(t, url, c.args...), &got); err != nil {
				t.Fatal(err)
			}
			if _, ok := got[c.want].([]any); !ok {
				t.Fatalf("the answer has no list %s", c.want)
			}
		})
	}
}
