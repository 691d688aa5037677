package sidedoor

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"coffer"
	"coffer/internal/iam"
)

// Principals reads the users and roles of an account, with their groups' policies and boundaries, from what
// `aws iam get-account-authorization-details` prints. A managed policy that is not in it makes an error: half of what somebody may do would
// look like all of it. Roles of services alone (service-linked roles) are among them.
func Principals(details []byte) ([]Principal, error) {
	type attached struct{ PolicyArn string }
	type inline struct{ PolicyDocument json.RawMessage }
	type identity struct {
		Arn, GroupName                                  string
		UserPolicyList, RolePolicyList, GroupPolicyList []inline
		AttachedManagedPolicies                         []attached
		GroupList                                       []string
		PermissionsBoundary                             *struct{ PermissionsBoundaryArn string }
	}
	var all struct {
		UserDetailList, RoleDetailList, GroupDetailList []identity
		Policies                                        []struct {
			Arn               string
			PolicyVersionList []struct {
				Document         json.RawMessage
				IsDefaultVersion bool
			}
		}
	}
	if err := json.Unmarshal(details, &all); err != nil {
		return nil, fmt.Errorf("account authorization details: %w", coffer.ErrInvalid)
	}
	managed := map[string]iam.Document{}
	for _, p := range all.Policies {
		for _, v := range p.PolicyVersionList {
			if !v.IsDefaultVersion {
				continue
			}
			d, err := iam.Parse(v.Document)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", p.Arn, err)
			}
			managed[p.Arn] = d
		}
	}
	documents := func(i identity) (out []iam.Document, err error) {
		for _, p := range slices.Concat(i.UserPolicyList, i.RolePolicyList, i.GroupPolicyList) {
			d, err := iam.Parse(p.PolicyDocument)
			if err != nil {
				return nil, err
			}
			out = append(out, d)
		}
		for _, p := range i.AttachedManagedPolicies {
			d, ok := managed[p.PolicyArn]
			if !ok {
				return nil, fmt.Errorf("%s is attached and not in the details; leave out --filter: %w", p.PolicyArn, coffer.ErrInvalid)
			}
			out = append(out, d)
		}
		return out, nil
	}
	groups := map[string][]iam.Document{}
	for _, g := range all.GroupDetailList {
		docs, err := documents(g)
		if err != nil {
			return nil, fmt.Errorf("group %s: %w", g.GroupName, err)
		}
		groups[g.GroupName] = docs
	}
	var out []Principal
	for _, i := range slices.Concat(all.UserDetailList, all.RoleDetailList) {
		docs, err := documents(i)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", i.Arn, err)
		}
		p := Principal{ARN: i.Arn, Policies: docs}
		for _, g := range i.GroupList {
			more, ok := groups[g]
			if !ok {
				return nil, fmt.Errorf("%s: group %s is not in the details: %w", i.Arn, g, coffer.ErrInvalid)
			}
			p.Policies = append(p.Policies, more...)
		}
		if parts := strings.Split(i.Arn, ":"); len(parts) >= 6 {
			p.Account = parts[4]
		}
		if b := i.PermissionsBoundary; b != nil {
			d, ok := managed[b.PermissionsBoundaryArn]
			if p.LimitUnknown = !ok; ok {
				p.Limits = []iam.Document{d}
			}
		}
		out = append(out, p)
	}
	return out, nil
}
