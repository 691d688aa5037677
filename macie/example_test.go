package macie_test

import (
	"context"
	"fmt"
	"os"

	"coffer/macie"
)

// An event is decoded, and the places that it leaves out are read from the discovery result.
func ExampleDecode() {
	ctx := context.Background()
	event, err := os.Open("testdata/02-jsonl-records-multiple.json")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer event.Close()
	for doc, err := range macie.Decode(ctx, event) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(doc.Kind, doc.Form, doc.ID)
		f := doc.Finding
		fmt.Println(len(f.Occurrences), "places, more:", f.More)

		result, err := os.Open("testdata/02-jsonl-records-multiple.discovery-result.jsonl") // what f.ResultLocation names
		if err != nil {
			fmt.Println(err)
			return
		}
		defer result.Close()
		results := macie.NewResults(f.Object)
		if err := results.Read(ctx, result); err != nil {
			fmt.Println(err)
			return
		}
		why := results.Merge(f)
		fmt.Printf("%d places, more: %t %q\n", len(f.Occurrences), f.More, why)
		fmt.Println(f.Occurrences[111].Type, f.Occurrences[111].At)
	}
	// Output:
	// finding event 3be90d71c5a84f2286ed17b04c9fa5d8
	// 15 places, more: true
	// 112 places, more: false ""
	// USA_SOCIAL_SECURITY_NUMBER record:39:$.kyc.ssn
}
