package web

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"coffer"
	"coffer/access"
	"coffer/job"
	"coffer/remedy"
)

// jobPage is long work: how far it has come, and what became of each thing that it is about.
type jobPage struct {
	ID       string
	Head     string
	Sign     sign
	By       string
	Created  *when
	Ended    *when
	Total    int
	Done     int
	Failed   int
	Waiting  int
	Progress *progress
	Items    []jobItem
	Tabs     []tab
	Next     string
	Error    string
	Cancel   bool
	Resume   bool
	Plans    int // plans that it made or worked at
}

type jobItem struct {
	Name, Folder, To string
	Ref              string
	Sign             sign
	Result           string
	ToResult         string
}

// jobHeads say what a job does.
var jobHeads = map[string]string{
	kindPlan: "Plan fixes", kindApply: "Apply fixes", kindUndo: "Undo fixes", kindPurge: "Purge fixes", kindRelocate: "Look for values anew", kindConfirm: "Confirm findings",
	kindWork: "Work on findings", kindIndex: "Index values", kindRotate: "Wrap keys anew",
}

func jobSign(state string) sign {
	switch job.State(state) {
	case job.Running:
		return sign{"Running", "ring-three", "accent"}
	case job.Interrupted:
		return sign{"Interrupted", "triangle", "warn"}
	case job.Done:
		return sign{"Done", "ring-tick", "good"}
	case job.Failed:
		return sign{"Some failed", "ring-cross", "high"}
	case job.Cancelled:
	}
	return sign{"Cancelled", "dash", "quiet"}
}

func (s *Server) jobPages() {
	s.page(&route{id: "jobs", method: http.MethodGet, path: "/jobs", action: access.AdminJob, own: true}, func(ctx context.Context, v *visit) (*screen, error) {
		list, err := s.Jobs.List(ctx, v.ask)
		if err != nil {
			return nil, err
		}
		var rows []jobPage
		for _, j := range list[:min(len(list), 200)] {
			shown := s.jobOf(j)
			rows = append(rows, jobPage{
				ID: j.ID, Head: jobHead(j.Kind), Sign: jobSign(shown.State), By: s.personName(ctx, v, j.By), Created: v.at(j.Created), Total: j.Total, Done: j.Done, Failed: j.Failed,
			})
		}
		return &screen{page: "jobs", title: "Jobs", nav: "/fixes", data: rows}, nil
	})
	s.page(&route{id: "job", method: http.MethodGet, path: "/jobs/{job}", action: access.AdminJob, on: work}, s.jobPage)
	s.page(&route{id: "job-cancel", method: http.MethodPost, path: "/jobs/{job}/cancel", action: access.AdminJob, on: work}, func(ctx context.Context, v *visit) (*screen, error) {
		id := v.r.PathValue("job")
		_, err := s.Jobs.Cancel(ctx, v.ask, id)
		return &screen{to: jobPath(id), said: "Cancelled after the item that was being done. What is done stays done."}, err
	})
	s.page(&route{id: "job-resume", method: http.MethodPost, path: "/jobs/{job}/resume", action: access.AdminJob, on: work}, func(ctx context.Context, v *visit) (*screen, error) {
		id := v.r.PathValue("job")
		j, err := s.Jobs.Get(ctx, id)
		if err != nil {
			return nil, err
		}
		if shown := s.jobOf(j); shown.State != string(job.Interrupted) && shown.State != string(job.Failed) {
			return nil, fmt.Errorf("the job is %s: %w", j.State, coffer.ErrConflict)
		}
		return &screen{to: jobPath(id), said: "Taken up again."}, s.runner.work(ctx, v.call, j)
	})
}

func jobPath(id string) string { return "/jobs/" + url.PathEscape(id) }

func jobHead(kind string) string {
	if h := jobHeads[kind]; h != "" {
		return h
	}
	return "Job"
}

func (s *Server) jobPage(ctx context.Context, v *visit) (*screen, error) {
	j, err := s.Jobs.Get(ctx, v.r.PathValue("job"))
	if err != nil {
		return nil, err
	}
	shown := s.jobOf(j)
	p := jobPage{
		ID: j.ID, Head: jobHead(j.Kind) + ", " + counted(j.Total, "item"), Sign: jobSign(shown.State), By: s.personName(ctx, v, j.By), Created: v.at(j.Created), Ended: v.at(j.Ended),
		Total: j.Total, Done: j.Done, Failed: j.Failed, Waiting: j.Total - j.Done - j.Failed, Error: shown.Error,
	}
	running := shown.State == string(job.Running)
	p.Cancel = running || shown.State == string(job.Interrupted)
	p.Resume = shown.State == string(job.Interrupted) || shown.State == string(job.Failed)
	if running {
		p.Progress = &progress{State: shown.State, Of: j.Total, Done: j.Done + j.Failed, Text: grouped(j.Done+j.Failed) + " of " + counted(j.Total, "item")}
		if j.Failed > 0 {
			p.Progress.Text += ", " + grouped(j.Failed) + " failed"
		}
	}
	if v.scripted() {
		return progressOf(p.Progress)
	}
	items, err := s.Jobs.Items(ctx, j.ID)
	if err != nil {
		return nil, err
	}
	show := v.get("show")
	var kept []job.Item
	count := map[string]int{"": len(items)}
	for _, it := range items {
		is := "waiting"
		switch {
		case it.State == job.Done:
			is = "done"
		case it.State == job.Failed:
			is = "failed"
		}
		count[is]++
		if show == "" || show == is {
			kept = append(kept, it)
		}
	}
	for _, t := range []struct{ id, name string }{{"", "All"}, {"failed", "Failed"}, {"done", "Done"}, {"waiting", "Waiting"}} {
		to := jobPath(j.ID)
		if t.id != "" {
			to += "?show=" + t.id
		}
		p.Tabs = append(p.Tabs, tab{Name: t.name, Count: count[t.id], To: to, Here: show == t.id})
	}
	from := 0
	_, _ = fmt.Sscan(v.get("from"), &from) // what is no number is the beginning
	from = max(0, min(from, len(kept)))
	end := min(len(kept), from+200)
	if end < len(kept) {
		p.Next = fmt.Sprintf("%s?show=%s&from=%d", jobPath(j.ID), url.QueryEscape(show), end)
	}
	for _, it := range kept[from:end] {
		row, err := s.jobItem(ctx, v, j, it)
		if err != nil {
			return nil, err
		}
		if row.ToResult != "" {
			p.Plans++
		}
		p.Items = append(p.Items, row)
	}
	return &screen{page: "job", title: jobHead(j.Kind), nav: "/fixes", data: p}, nil
}

// jobItem is one thing that a job is about. Its object is named to those who may see it.
func (s *Server) jobItem(ctx context.Context, v *visit, j *job.Job, it job.Item) (jobItem, error) {
	row := jobItem{Ref: it.Ref, Sign: sign{"Waiting", "ring", "quiet"}, Result: it.Result, Name: shortID(it.Ref)}
	switch it.State {
	case job.Done:
		row.Sign = sign{"Done", "ring-tick", "good"}
	case job.Failed:
		row.Sign, row.Result = sign{"Failed", "ring-cross", "high"}, sentence(it.Error)
	case job.Running, job.Interrupted, job.Cancelled:
	}
	var about coffer.Object
	switch j.Kind {
	case kindPlan, kindRelocate, kindConfirm, kindWork:
		rec, err := s.Desk.Records.Get(ctx, it.Ref)
		if errors.Is(err, coffer.ErrNotFound) {
			return row, nil
		} else if err != nil {
			return row, err
		}
		if s.may(ctx, v.call, access.FindingRead, rec.Resource(), v.ask.Context) {
			about, row.To = rec.Finding.Object, "/findings/"+url.PathEscape(it.Ref)
		}
		if j.Kind == kindPlan && it.State == job.Done {
			row.Result, row.ToResult = "Look at the plan", fixPath(it.Result)
		}
	case kindApply, kindUndo, kindPurge:
		p, err := s.Remedy.Get(ctx, it.Ref)
		if errors.Is(err, coffer.ErrNotFound) {
			return row, nil
		} else if err != nil {
			return row, err
		}
		res, err := s.Remedy.Resource(ctx, p)
		if err != nil {
			return row, err
		}
		res.Kind, res.ID = access.Object, p.ObjectID
		if s.may(ctx, v.call, access.ObjectRead, res, v.ask.Context) {
			about, row.To, row.ToResult = p.Object, fixPath(p.ID), fixPath(p.ID)
		}
		if it.State == job.Done {
			row.Sign, row.Result = fixSign(p), capital(string(remedy.State(it.Result)))
		}
	}
	if about.Key != "" {
		row.Name, row.Folder = fileName(about)
	}
	return row, nil
}
