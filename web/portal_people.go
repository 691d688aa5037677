package web

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"coffer"
	"coffer/access"
)

type peoplePage struct {
	Rows  []personRow
	Roles []string
	// Code is the one-time code that was just made. It is in the one answer that shows it, and nowhere else.
	Code *newCode
}

type newCode struct{ Name, Code string }

type personRow struct {
	ID, Name, From, Roles, Teams string
	Local, Disabled, Self        bool
	How                          string
	SignedIn                     *when
	CodeUntil                    *when
	Chosen                       []roleChoice
}

type roleChoice struct {
	Name string
	On   bool
}

func (s *Server) peoplePages() {
	// Without sign-in in a browser there are no people to see to.
	page := func(rt *route, h func(context.Context, *visit) (*screen, error)) {
		s.page(rt, func(ctx context.Context, v *visit) (*screen, error) {
			if s.People == nil {
				return nil, fmt.Errorf("people: %w", coffer.ErrNotFound)
			}
			return h(ctx, v)
		})
	}
	page(&route{id: "people", method: http.MethodGet, path: "/people", action: access.AdminUser}, func(ctx context.Context, v *visit) (*screen, error) {
		return s.peoplePage(ctx, v, nil)
	})
	page(&route{id: "people-add", method: http.MethodPost, path: "/people", action: access.AdminUser}, func(ctx context.Context, v *visit) (*screen, error) {
		u, code, err := s.People.AddUser(ctx, v.ask, v.field("name"), v.form["role"], strings.Fields(v.field("teams")))
		if err != nil {
			return nil, err
		}
		return s.peoplePage(ctx, v, &newCode{u.Name, code})
	})
	page(&route{id: "people-code", method: http.MethodPost, path: "/people/code", action: access.AdminUser}, func(ctx context.Context, v *visit) (*screen, error) {
		code, err := s.People.NewCode(ctx, v.ask, v.field("person"))
		if err != nil {
			return nil, err
		}
		return s.peoplePage(ctx, v, &newCode{s.personName(ctx, v, v.field("person")), code})
	})
	page(&route{id: "people-roles", method: http.MethodPost, path: "/people/roles", action: access.AdminUser}, func(ctx context.Context, v *visit) (*screen, error) {
		err := s.People.SetRoles(ctx, v.ask, v.field("person"), v.form["role"], strings.Fields(v.field("teams")))
		return &screen{to: "/people", said: "The roles are set. Sessions and tokens have them at once."}, err
	})
	page(&route{id: "people-disabled", method: http.MethodPost, path: "/people/disabled", action: access.AdminUser}, func(ctx context.Context, v *visit) (*screen, error) {
		off := v.field("disabled") != ""
		said := "The person can sign in again."
		if off {
			said = "The person is kept out, and their sessions have ended."
		}
		return &screen{to: "/people", said: said}, s.People.Disable(ctx, v.ask, v.field("person"), off)
	})
}

func (s *Server) peoplePage(ctx context.Context, v *visit, code *newCode) (*screen, error) {
	list, err := s.People.Users(ctx, v.ask)
	if err != nil {
		return nil, err
	}
	policy, err := s.Guard.Current(ctx)
	if err != nil {
		return nil, err
	}
	p := &peoplePage{Code: code}
	for _, r := range policy.Roles() {
		if r != access.RoleOperator && r != access.RoleService { // they are no people's
			p.Roles = append(p.Roles, r)
		}
	}
	for i := range list {
		u := &list[i]
		row := personRow{
			ID: u.ID, Name: u.Name, From: u.Issuer, Roles: strings.ReplaceAll(strings.Join(u.Roles, ", "), "-", " "), Teams: strings.Join(u.Teams, " "), Local: u.Issuer == "",
			Disabled: u.Disabled, Self: u.ID == v.ask.Caller.ID, SignedIn: v.at(u.SignedIn), CodeUntil: v.at(u.CodeUntil),
		}
		if row.Name == "" {
			row.Name = u.ID
		}
		var how []string
		if u.Passphrase {
			how = append(how, "passphrase")
		}
		if u.Passkeys > 0 {
			how = append(how, counted(u.Passkeys, "passkey"))
		}
		if !row.Local {
			how = append(how, u.Issuer)
		}
		row.How = strings.Join(how, ", ")
		roles := slices.Clone(p.Roles)
		for _, r := range u.Roles {
			if !slices.Contains(roles, r) {
				roles = append(roles, r)
			}
		}
		for _, r := range roles {
			row.Chosen = append(row.Chosen, roleChoice{r, slices.Contains(u.Roles, r)})
		}
		p.Rows = append(p.Rows, row)
	}
	slices.SortStableFunc(p.Rows, func(a, b personRow) int { return strings.Compare(a.Name, b.Name) })
	return &screen{page: "people", title: "People", nav: "/people", data: p}, nil
}
