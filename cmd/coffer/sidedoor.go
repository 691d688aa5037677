package main

import (
	"fmt"
	"os"
	"strings"

	"coffer"
	"coffer/app"
	"coffer/internal/iam"
	"coffer/object"
	"coffer/sidedoor"
)

type sidedoorCmd struct {
	Policy   sidedoorPolicyCmd   `cmd:"" help:"Print the policy that keeps everybody but the named from objects that are tagged as sensitive."`
	Simulate sidedoorSimulateCmd `cmd:"" help:"Say who would lose access to sensitive objects by that policy, before it is put."`
}

// doorFlags say whom the policy leaves in.
type doorFlags struct {
	Bucket string   `help:"The bucket; without it the policy is a service control policy for all buckets." placeholder:"NAME"`
	Coffer []string `help:"Roles of Coffer, which read, fix and tag (output CofferRoles of the template)." placeholder:"ARN" required:""`
	Allow  []string `help:"Roles and users that may read sensitive objects without Coffer." placeholder:"ARN"`
}

func (d doorFlags) policy() ([]byte, error) {
	return sidedoor.Policy(sidedoor.Rules{Bucket: d.Bucket, Readers: d.Allow, Coffer: d.Coffer})
}

type sidedoorPolicyCmd struct{ doorFlags }

// Help is the long help of the command.
func (sidedoorPolicyCmd) Help() string {
	return "Merge what is printed into the policy that the bucket has (aws s3api put-bucket-policy replaces all of it). Run coffer sidedoor simulate first."
}

func (c *sidedoorPolicyCmd) Run(e *env) error {
	b, err := c.policy()
	if err != nil {
		return err
	}
	_, err = e.stdout.Write(b)
	return err
}

type sidedoorSimulateCmd struct {
	doorFlags
	Account      string `help:"Id of the account that owns the bucket." placeholder:"ID" required:""`
	IAM          string `name:"iam" help:"File with what aws iam get-account-authorization-details prints." placeholder:"FILE" required:"" type:"existingfile"`
	BucketPolicy string `help:"File with the policy that the bucket has (aws s3api get-bucket-policy --query Policy --output text); an empty one says that it has none." placeholder:"FILE" type:"existingfile"`
	ACL          string `name:"acl" help:"File with the bucket's ACL (aws s3api get-bucket-acl)." placeholder:"FILE" type:"existingfile"`
	Block        string `help:"File with the bucket's public access block (aws s3api get-public-access-block); an empty one says that it has none." placeholder:"FILE" type:"existingfile"`
	Offline      bool   `help:"Ask AWS for nothing: settings of the bucket that no file gives are unknown."`
}

// Help is the long help of the command.
func (sidedoorSimulateCmd) Help() string {
	return "Evaluates the policies of the account's users and roles, of their groups and boundaries, and of the bucket, without and with the policy that " +
		"coffer sidedoor policy prints. Without a file about the bucket its policy, ACL and public access block are read from S3, with your " +
		"credentials; with one, or --offline, AWS is asked nothing. An answer that rests on what is not known is unknown, with what it rests on: " +
		"never take unknown for no. Not looked at: " + strings.Join(sidedoor.Limits, "; ") + "."
}

// sharing are the settings of the bucket, from the files or from S3.
func (c *sidedoorSimulateCmd) sharing(e *env) (object.Sharing, error) {
	if !c.Offline && c.BucketPolicy == "" && c.ACL == "" && c.Block == "" {
		return app.Sharing(e.ctx, app.Options{Home: e.Home, Objects: e.Objects}, c.Account, c.Bucket)
	}
	s := sidedoor.Nothing()
	for _, f := range []struct {
		name string
		take func(*object.Sharing, []byte) error
	}{{c.BucketPolicy, sidedoor.TakePolicy}, {c.ACL, sidedoor.TakeACL}, {c.Block, sidedoor.TakeBlock}} {
		if f.name == "" {
			continue
		}
		b, err := read(f.name)
		if err == nil {
			err = f.take(&s, b)
		}
		if err != nil {
			return s, err
		}
	}
	return s, nil
}

// read reads a file of at most maxDetails bytes.
func read(name string) ([]byte, error) {
	fi, err := os.Stat(name)
	if err == nil && fi.Size() > maxDetails {
		return nil, fmt.Errorf("%s is larger than %d bytes: %w", name, maxDetails, coffer.ErrLimit)
	}
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", coffer.ErrUnavailable, err)
	}
	return b, nil
}

// maxDetails bounds the file of an account's users and roles.
const maxDetails = 256 << 20

func (c *sidedoorSimulateCmd) Run(e *env) error {
	if c.Bucket == "" {
		return usage("name the --bucket")
	}
	details, err := read(c.IAM)
	if err != nil {
		return err
	}
	s := sidedoor.Situation{Bucket: c.Bucket, Account: c.Account}
	if s.Principals, err = sidedoor.Principals(details); err != nil {
		return err
	}
	if s.Sharing, err = c.sharing(e); err != nil {
		return err
	}
	p, err := c.policy()
	if err != nil {
		return err
	}
	changes, err := s.Simulate(p)
	if err != nil {
		return err
	}
	lose, unknown := 0, 0
	t := e.out.table(4, "NOW", "THEN", "ACTION", "WHO", "RESTS ON")
	for _, ch := range changes {
		if ch.Changed() {
			lose++
		}
		if ch.After == iam.Unknown.String() {
			unknown++
		}
		if e.JSON {
			if err := e.out.element(ch); err != nil {
				return err
			}
			continue
		}
		t.row(ch.Before, ch.After, ch.Action, ch.Principal, strings.Join(ch.Unknown, "; "))
	}
	if e.JSON {
		return nil
	}
	t.print()
	e.out.say("%d lose access, of %d it is not known whether they have it then. Not looked at:", lose, unknown)
	for _, l := range sidedoor.Limits {
		e.out.say("  %s", l)
	}
	return nil
}
