package identity

import (
	"context"
	"errors"
	"slices"

	"coffer"
	"coffer/access"
	"coffer/internal/lazyregexp"
)

// signerARN matches the ARNs of roles, of sessions of roles and of users (IAM User Guide, "IAM identifiers"). The ARN of a session has no
// path; the names of roles are unique in an account whatever their paths.
var signerARN = lazyregexp.New(`^arn:(aws[a-z-]*):(?:iam::([0-9]{12}):(role|user)/(?:[!-.0-~]+/)*([\w+=,.@-]{1,64})|sts::([0-9]{12}):assumed-role/([\w+=,.@-]{1,64})/[\w+=,.@-]{2,64})$`)

// parseSigner returns the role or user that an ARN names, in a form that is the same for a role and all its sessions.
func parseSigner(arn string) (string, bool) {
	m := signerARN().FindStringSubmatch(arn)
	switch {
	case m == nil:
		return "", false
	case m[5] != "":
		return m[1] + ":" + m[5] + ":role/" + m[6], true
	}
	return m[1] + ":" + m[2] + ":" + m[3] + "/" + m[4], true
}

// IAM returns who comes with a request whose signature AWS has verified for this ARN, of a role's session or of a user; that it has, and that
// nobody else can say so, is for the caller to see to. Errors are as for [Identity.Bearer].
func (id *Identity) IAM(ctx context.Context, arn string, m Meta) (access.Caller, Proof, error) {
	who, proof, err := id.signer(ctx, arn)
	if err != nil {
		if who.ID == "" {
			who = nobody
		}
		return access.Caller{}, Proof{}, id.refusedToken(ctx, who, ByIAM, err, m)
	}
	return who, proof, nil
}

func (id *Identity) signer(ctx context.Context, arn string) (access.Caller, Proof, error) {
	subject, ok := parseSigner(arn)
	if !ok {
		return access.Caller{}, Proof{}, refuse(Malformed)
	}
	i := slices.IndexFunc(id.Config.IAM, func(s Signer) bool { who, ok := parseSigner(s.ARN); return ok && who == subject })
	if i < 0 {
		return access.Caller{}, Proof{}, refuse(Unknown)
	}
	who := access.Caller{
		ID: id.person("aws-iam", subject), Kind: access.TokenCaller, Roles: slices.Clone(id.Config.IAM[i].Roles), Teams: slices.Clone(id.Config.IAM[i].Teams),
		Scopes: slices.Clone(id.Config.IAM[i].Scopes),
	}
	switch a, err := id.account(ctx, who.ID); {
	case err == nil && a.Disabled:
		return who, Proof{}, refuse(Disabled)
	case err != nil && !errors.Is(err, coffer.ErrNotFound):
		return access.Caller{}, Proof{}, err
	}
	return who, Proof{How: ByIAM, Token: id.hash("iam", arn)[:20]}, nil
}
