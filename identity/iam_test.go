package identity_test

import (
	"errors"
	"slices"
	"testing"

	"coffer"
	"coffer/access"
	"coffer/identity"
)

const iamRole = "arn:aws:iam::123456789012:role/teams/engineer"

// TestIAM: every session of a configured role is that role, whatever its path and whatever the session is called; nobody else is anybody.
func TestIAM(t *testing.T) {
	w := newWorld(t, identity.Config{IAM: []identity.Signer{
		{ARN: iamRole, Roles: []string{"engineer"}, Teams: []string{"payments"}, Scopes: []access.Action{access.FindingList}},
		{ARN: "arn:aws:iam::123456789012:user/ops/alice", Roles: []string{"auditor"}},
	}})
	var engineer access.Caller
	for _, arn := range []string{
		"arn:aws:sts::123456789012:assumed-role/engineer/one", "arn:aws:sts::123456789012:assumed-role/engineer/another@example.com",
	} {
		who, proof, err := w.IAM(ctx, arn, meta)
		if err != nil || who.Kind != access.TokenCaller || !slices.Equal(who.Roles, []string{"engineer"}) || !slices.Equal(who.Teams, []string{"payments"}) ||
			!slices.Equal(who.Scopes, []access.Action{access.FindingList}) || proof.How != identity.ByIAM {
			t.Fatalf("%s: %+v, %v", arn, who, err)
		}
		if engineer.ID != "" && who.ID != engineer.ID {
			t.Error("two sessions of a role are two people")
		}
		engineer = who
	}
	alice, _, err := w.IAM(ctx, "arn:aws:iam::123456789012:user/ops/alice", meta)
	if err != nil || alice.ID == engineer.ID || !slices.Equal(alice.Roles, []string{"auditor"}) {
		t.Errorf("a user: %+v, %v", alice, err)
	}
	for what, arn := range map[string]string{
		"another role":             "arn:aws:sts::123456789012:assumed-role/engineers/one",
		"a role that begins alike": "arn:aws:sts::123456789012:assumed-role/engineer-2/one",
		"another account":          "arn:aws:sts::999999999999:assumed-role/engineer/one",
		"another partition":        "arn:aws-cn:sts::123456789012:assumed-role/engineer/one",
		"a user named as the role": "arn:aws:iam::123456789012:user/engineer",
		"a role named as the user": "arn:aws:sts::123456789012:assumed-role/alice/one",
		"a federated user":         "arn:aws:sts::123456789012:federated-user/engineer",
		"the account itself":       "arn:aws:iam::123456789012:root",
		"no session":               "arn:aws:sts::123456789012:assumed-role/engineer",
		"a path in a session":      "arn:aws:sts::123456789012:assumed-role/teams/engineer/one",
		"a line more":              "arn:aws:sts::123456789012:assumed-role/engineer/one\n",
		"nothing":                  "",
	} {
		if who, _, err := w.IAM(ctx, arn, meta); !errors.Is(err, coffer.ErrDenied) || who.ID != "" {
			t.Errorf("%s: %+v, %v", what, who, err)
		}
	}
	// What one gets is one's own: nobody changes the configuration through it.
	engineer.Roles[0] = "platform"
	if again, _, err := w.IAM(ctx, "arn:aws:sts::123456789012:assumed-role/engineer/one", meta); err != nil || again.Roles[0] != "engineer" {
		t.Error("the roles of a caller are those of the configuration itself")
	}
}
