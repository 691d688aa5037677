package access

import (
	"fmt"
	"slices"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/ast"
	"github.com/cedar-policy/cedar-go/x/exp/schema"
	"github.com/cedar-policy/cedar-go/x/exp/schema/resolved"
	"github.com/cedar-policy/cedar-go/x/exp/schema/validate"

	"coffer"
)

// validator holds everything that uses cedar-go's experimental packages, so that a change there ends in this file.
type validator struct {
	schema *resolved.Schema
	v      *validate.Validator
	// groups maps an action to the groups it is in, which the evaluation needs as entities.
	groups map[cedar.EntityUID]cedar.Entity
}

func newValidator(text []byte) (*validator, error) {
	var s schema.Schema
	if err := s.UnmarshalCedar(text); err != nil {
		return nil, fmt.Errorf("parsing the policy schema: %w: %w", err, coffer.ErrInvalid)
	}
	r, err := s.Resolve()
	if err != nil {
		return nil, fmt.Errorf("resolving the policy schema: %w: %w", err, coffer.ErrInvalid)
	}
	v := &validator{schema: r, v: validate.New(r, validate.WithStrict()), groups: make(map[cedar.EntityUID]cedar.Entity)}
	for uid, a := range r.Actions {
		v.groups[uid] = cedar.Entity{UID: uid, Parents: a.Entity.Parents}
	}
	return v, nil
}

// policy checks one policy: it names only what exists, and every expression has a type for every request it can meet.
func (v *validator) policy(id string, p *cedar.Policy) error {
	return v.v.Policy(id, (*ast.Policy)(p.AST()))
}

// action returns the entity of an action with its groups.
func (v *validator) action(uid cedar.EntityUID) (cedar.Entity, bool) {
	e, ok := v.groups[uid]
	return e, ok
}

// concerns reports whether the policy's scope can hold for an action. A scope only compares, and cannot fail.
func (v *validator) concerns(p *cedar.Policy, action cedar.EntityUID) bool {
	within := func(group cedar.EntityUID) bool {
		e := v.groups[action]
		return group == action || e.Parents.Contains(group)
	}
	switch s := (*ast.Policy)(p.AST()).Action.(type) {
	case ast.ScopeTypeEq:
		return s.Entity == action
	case ast.ScopeTypeIn:
		return within(s.Entity)
	case ast.ScopeTypeInSet:
		return slices.ContainsFunc(s.Entities, within)
	}
	return true
}

// looksAt says at which of the circumstances that move a policy may look. Cedar has no names that are made at run time.
func looksAt(p *cedar.Policy) (m moving) {
	var look func(n ast.IsNode, approved bool)
	see := func(of ast.IsNode, name string, approved bool) bool {
		if !isContext(of) {
			return true
		}
		switch {
		case name == "signInAge":
			m.age = true
		case name == "now" && approved:
			m.approved = true
		case name == "now":
			m.now = true
		}
		return false
	}
	look = func(n ast.IsNode, approved bool) {
		ast.Inspect(ast.NewNode(n), func(n ast.IsNode) bool {
			switch n := n.(type) {
			case ast.NodeTypeAnd:
				// The right side is evaluated only if the left one holds.
				look(n.Left, approved)
				look(n.Right, approved || demandsApproval(n.Left))
				return false
			case ast.NodeTypeAccess:
				return see(n.Arg, string(n.Value), approved)
			case ast.NodeTypeHas:
				return see(n.Arg, string(n.Value), approved)
			}
			if isContext(n) {
				m.now, m.age = true, true // as a whole
			}
			return true
		})
	}
	for _, c := range (*ast.Policy)(p.AST()).Conditions {
		look(c.Body, false)
	}
	return m
}

func isContext(n ast.IsNode) bool {
	v, ok := n.(ast.NodeTypeVariable)
	return ok && v.Name == "context"
}

// demandsApproval reports whether n cannot hold unless the context says until when an act is approved.
func demandsApproval(n ast.IsNode) bool {
	switch n := n.(type) {
	case ast.NodeTypeHas:
		return isContext(n.Arg) && n.Value == "approvedUntil"
	case ast.NodeTypeAnd:
		return demandsApproval(n.Left) || demandsApproval(n.Right)
	}
	return false
}

// request checks that the request and its entities are what the schema says, so that no attribute is missing.
func (v *validator) request(req types.Request, entities types.EntityMap) error {
	if err := v.v.Request(req); err != nil {
		return err
	}
	return v.v.Entities(entities)
}

// resources returns the kinds of resource that the schema allows for an action.
func (v *validator) resources(uid cedar.EntityUID) []Kind {
	var kinds []Kind
	if a, ok := v.schema.Actions[uid]; ok && a.AppliesTo != nil {
		for _, r := range a.AppliesTo.Resources {
			kinds = append(kinds, Kind(r))
		}
	}
	return kinds
}

// leaves returns the actions that can be asked for, without the groups.
func (v *validator) leaves() []Action {
	var out []Action
	for uid, a := range v.schema.Actions {
		if a.AppliesTo != nil {
			out = append(out, Action(uid.ID))
		}
	}
	return out
}
