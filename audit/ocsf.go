package audit

import (
	"encoding/json"
	"fmt"
	"io"
	"iter"

	"coffer/access"
)

// OCSFVersion is the version of the Open Cybersecurity Schema Framework that [WriteOCSF] follows.
const OCSFVersion = "1.8.0"

// ocsfClass is a class of events of OCSF with the words for it.
type ocsfClass struct {
	uid, category         int
	caption, categoryName string
	activities            map[int]string // captions of activity_id
}

var (
	ocsfAuthentication = ocsfClass{3002, 3, "Authentication", "Identity & Access Management", map[int]string{1: "Logon", 2: "Logoff"}}
	ocsfAPI            = ocsfClass{6003, 6, "API Activity", "Application Activity", map[int]string{1: "Create", 2: "Read", 3: "Update", 4: "Delete"}}
	ocsfDatastore      = ocsfClass{6005, 6, "Datastore Activity", "Application Activity", map[int]string{
		1: "Read", 2: "Update", 4: "Query", 7: "Delete", 8: "List", 9: "Encrypt", 10: "Decrypt",
	}}
)

// ocsfActivity is what an action is in OCSF.
type ocsfActivity struct {
	class    *ocsfClass
	activity int
}

// ocsfActivities says it for every action: what touches values, findings and objects is activity at a datastore, a session is
// authentication, and all else is a call of the API.
var ocsfActivities = map[access.Action]ocsfActivity{
	access.EventIngest:  {&ocsfDatastore, 9},
	access.EventConfirm: {&ocsfAPI, 3}, access.EventReconcile: {&ocsfAPI, 1},
	access.FindingList: {&ocsfDatastore, 8},
	access.FindingRead: {&ocsfDatastore, 1},
	access.ObjectRead:  {&ocsfDatastore, 1},
	access.ValueReveal: {&ocsfDatastore, 10},
	access.ValueSearch: {&ocsfDatastore, 4},
	access.RemedyApply: {&ocsfDatastore, 2},
	access.RemedyUndo:  {&ocsfDatastore, 2},
	access.RemedyPurge: {&ocsfDatastore, 7},

	access.SessionStart: {&ocsfAuthentication, 1},
	access.SessionEnd:   {&ocsfAuthentication, 2},

	access.VerdictSet:    {&ocsfAPI, 3},
	access.RemedyPlan:    {&ocsfAPI, 1},
	access.RemedyApprove: {&ocsfAPI, 3},
	access.AccessList:    {&ocsfAPI, 2},
	access.AccessRequest: {&ocsfAPI, 1},
	access.AccessApprove: {&ocsfAPI, 3},
	access.AccessBreak:   {&ocsfAPI, 1},
	access.AccessReview:  {&ocsfAPI, 3},
	access.AuditRead:     {&ocsfAPI, 2},
	access.TokenCreate:   {&ocsfAPI, 1},
	access.KeyRotate:     {&ocsfAPI, 3},
	access.PolicyWrite:   {&ocsfAPI, 3},
	access.AdminUser:     {&ocsfAPI, 3},
	access.AdminToken:    {&ocsfAPI, 3},
	access.AdminIndex:    {&ocsfAPI, 3},
	access.AdminObject:   {&ocsfAPI, 3},
	access.AdminPerson:   {&ocsfAPI, 4},
	access.AdminBackup:   {&ocsfAPI, 2},
	access.AdminCheck:    {&ocsfAPI, 2},
	access.AdminJob:      {&ocsfAPI, 3},
	access.AdminNotify:   {&ocsfAPI, 1},
}

// Objects of OCSF, as far as an entry has something to say in them.
type (
	ocsfEvent struct {
		ActivityID   int    `json:"activity_id"`
		ActivityName string `json:"activity_name"`
		CategoryUID  int    `json:"category_uid"`
		CategoryName string `json:"category_name"`
		ClassUID     int    `json:"class_uid"`
		ClassName    string `json:"class_name"`
		TypeUID      int    `json:"type_uid"`
		TypeName     string `json:"type_name"`
		SeverityID   int    `json:"severity_id"`
		Severity     string `json:"severity"`
		StatusID     int    `json:"status_id"`
		Status       string `json:"status"`
		StatusCode   string `json:"status_code"`
		StatusDetail string `json:"status_detail,omitempty"`

		Time     int64        `json:"time"` // milliseconds since 1970
		Metadata ocsfMetadata `json:"metadata"`

		Actor     *ocsfActor     `json:"actor,omitempty"`
		User      *ocsfUser      `json:"user,omitempty"`
		Session   *ocsfSession   `json:"session,omitempty"`
		Service   *ocsfNamed     `json:"service,omitempty"`
		API       *ocsfCall      `json:"api,omitempty"`
		Resources []ocsfResource `json:"resources,omitempty"`
		Bucket    *ocsfStore     `json:"databucket,omitempty"`
		Database  *ocsfStore     `json:"database,omitempty"`
		Source    ocsfEndpoint   `json:"src_endpoint"`

		RawData  string         `json:"raw_data"`
		Unmapped map[string]any `json:"unmapped,omitempty"`
	}
	ocsfMetadata struct {
		Version     string    `json:"version"`
		Product     ocsfNamed `json:"product"`
		UID         string    `json:"uid"`
		Sequence    *int64    `json:"sequence,omitempty"`
		LogName     string    `json:"log_name"`
		EventCode   string    `json:"event_code"`
		Correlation string    `json:"correlation_uid,omitempty"`
	}
	ocsfNamed struct {
		Name   string `json:"name"`
		Vendor string `json:"vendor_name,omitempty"`
	}
	ocsfActor struct {
		User           ocsfUser            `json:"user"`
		Session        *ocsfSession        `json:"session,omitempty"`
		Authorizations []ocsfAuthorization `json:"authorizations,omitempty"`
	}
	ocsfUser struct {
		UID    string      `json:"uid"`
		TypeID int         `json:"type_id"`
		Type   string      `json:"type"`
		Groups []ocsfNamed `json:"groups,omitempty"`
	}
	ocsfSession struct {
		UID        string `json:"uid,omitempty"`
		Credential string `json:"credential_uid,omitempty"`
	}
	ocsfAuthorization struct {
		Decision string      `json:"decision"`
		Policy   *ocsfPolicy `json:"policy,omitempty"`
	}
	ocsfPolicy struct {
		UID     string `json:"uid"`
		Version string `json:"version"`
	}
	ocsfCall struct {
		Operation string       `json:"operation"`
		Request   *ocsfRequest `json:"request,omitempty"`
		Service   ocsfNamed    `json:"service"`
	}
	ocsfRequest struct {
		UID string `json:"uid"`
	}
	ocsfResource struct {
		Type string `json:"type"`
		UID  string `json:"uid"`
	}
	ocsfStore struct {
		Name   string `json:"name,omitempty"`
		UID    string `json:"uid,omitempty"`
		TypeID int    `json:"type_id"`
		Type   string `json:"type"`
	}
	ocsfEndpoint struct {
		IP   string `json:"ip,omitempty"`
		Name string `json:"name,omitempty"`
	}
)

// WriteOCSF writes entries as JSON Lines of OCSF events, for the tools that collect those: what touches values, findings and objects
// as Datastore Activity (reveal: Decrypt; search: Query; a fix: Update or Delete), sessions as Authentication, all else as API
// Activity. raw_data is the canonical encoding of the entry, from which the leaf hash can be computed; what OCSF has no place for
// stands in unmapped. People stay pseudonymous. It stops at the first error.
func WriteOCSF(w io.Writer, entries iter.Seq2[Entry, error]) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	for e, err := range entries {
		if err != nil {
			return err
		}
		event, err := ocsf(&e)
		if err != nil {
			return err
		}
		if err := enc.Encode(event); err != nil {
			return fmt.Errorf("exporting the audit log: %w", err)
		}
	}
	return nil
}

func ocsf(e *Entry) (*ocsfEvent, error) {
	leaf, err := e.encode()
	if err != nil {
		return nil, err
	}
	what, ok := ocsfActivities[e.Action]
	if !ok {
		// What was asked for and is no action of ours was denied.
		what = ocsfActivity{&ocsfAPI, 99}
	}
	if e.Action == access.RemedyApply && (e.Detail["action"] == "delete" || e.Detail["action"] == "quarantine") {
		what.activity = 7
	}
	name := what.class.activities[what.activity]
	if what.activity == 99 {
		name = string(e.Action)
	}
	x := &ocsfEvent{
		ActivityID: what.activity, ActivityName: name,
		CategoryUID: what.class.category, CategoryName: what.class.categoryName, ClassUID: what.class.uid, ClassName: what.class.caption,
		TypeUID: what.class.uid*100 + what.activity, TypeName: what.class.caption + ": " + name,
		StatusCode: string(e.Outcome),
		Time:       e.Time.UnixMilli(),
		Metadata: ocsfMetadata{
			Version: OCSFVersion, Product: ocsfNamed{"Coffer", "Coffer"}, UID: e.Ref().String(), LogName: "audit", EventCode: string(e.Action),
			Correlation: e.Intent.String(),
		},
		RawData: string(leaf), Unmapped: map[string]any{},
	}
	if x.Metadata.Correlation == "" && e.Outcome == Intent {
		x.Metadata.Correlation = e.Ref().String()
	}
	if e.Index >= 0 {
		x.Metadata.Sequence = &e.Index
	}
	switch e.Outcome {
	case Done:
		x.StatusID, x.Status = 1, "Success"
	case Intent:
		x.StatusID, x.Status = 99, "Intent"
	default:
		x.StatusID, x.Status = 2, "Failure"
	}
	x.SeverityID, x.Severity = 1, "Informational"
	switch {
	case e.Action == access.AccessBreak || e.Detail["breakGlass"] != "":
		x.SeverityID, x.Severity = 4, "High"
	case e.Outcome == Denied || e.Outcome == Failed:
		x.SeverityID, x.Severity = 2, "Low"
	}
	if len(e.Policies) > 0 && e.Decision == Deny {
		x.StatusDetail = "forbidden by " + e.Policies[0]
	}

	user := ocsfUser{UID: e.Actor.ID, TypeID: 1, Type: "User"}
	switch e.Actor.Kind {
	case access.ServiceCaller, access.TokenCaller:
		user.TypeID, user.Type = 4, "Service"
	case access.OperatorCaller:
		user.TypeID, user.Type = 2, "Admin"
	}
	for _, role := range e.Actor.Roles {
		user.Groups = append(user.Groups, ocsfNamed{Name: role})
	}
	var session *ocsfSession
	if s := (ocsfSession{e.Detail["session"], e.Detail["token"]}); s != (ocsfSession{}) {
		session = &s
	}
	x.Actor = &ocsfActor{User: user, Session: session, Authorizations: []ocsfAuthorization{{Decision: e.Decision}}}
	if len(e.Policies) > 0 {
		x.Actor.Authorizations = nil
		for _, p := range e.Policies {
			x.Actor.Authorizations = append(x.Actor.Authorizations, ocsfAuthorization{e.Decision, &ocsfPolicy{p, e.Hash}})
		}
	}
	if x.Source.IP = e.Detail["network"]; x.Source.IP == "" {
		x.Source.Name = "this machine"
	}

	switch what.class {
	case &ocsfAuthentication:
		x.User, x.Session, x.Service = &user, session, &ocsfNamed{Name: "coffer"}
	case &ocsfDatastore:
		x.Database = &ocsfStore{Name: "coffer", TypeID: 99, Type: "sealed values"}
		if e.Object != "" {
			x.Bucket = &ocsfStore{UID: e.Object, TypeID: 99, Type: "object"}
		}
		x.unmapped("request", e.Request)
		x.unmapped("finding", e.Finding)
		x.unmapped("plan", e.Plan)
	default:
		x.API = &ocsfCall{Operation: string(e.Action), Service: ocsfNamed{Name: "coffer"}}
		if e.Request != "" {
			x.API.Request = &ocsfRequest{e.Request}
		}
		for _, r := range []ocsfResource{{"finding", e.Finding}, {"plan", e.Plan}, {"object", e.Object}} {
			if r.UID != "" {
				x.Resources = append(x.Resources, r)
			}
		}
	}
	x.unmapped("occurrences", formatRanges(e.Occurrences))
	x.unmapped("reason", e.Reason)
	x.unmapped("note", e.Note)
	for k, v := range e.Detail {
		x.unmapped("detail."+k, v)
	}
	return x, nil
}

func (x *ocsfEvent) unmapped(name, s string) {
	if s != "" {
		x.Unmapped[name] = s
	}
}
