package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"time"

	"coffer"
	"coffer/access"
	"coffer/app"
	"coffer/store"
	"coffer/web"
)

type serveCmd struct {
	Addr    string `help:"Where to listen. Other addresses than loopback need tls in config.yaml." default:"127.0.0.1:8484" placeholder:"HOST:PORT"`
	Metrics string `help:"Where metrics are, in OpenMetrics; a loopback address. Empty: nowhere." default:"127.0.0.1:8485" placeholder:"HOST:PORT"`
	Verbose bool   `help:"Write a line to the log for every request: route, status and time, never a path."`

	people []demoPerson  // who was added for a demo, to be told how to sign in
	period time.Duration // how often timed work is done; zero: timed
}

// Help is the long help of the command.
func (serveCmd) Help() string {
	return "Serves the API until it is interrupted, puts the audit log under checkpoints, purges what is past its grace period, and with macie: in config.yaml takes in what Macie lists and what never came. " +
		"Commands can use the same home at the same time."
}

const (
	// drain is how long requests under way have when the server ends.
	drain = 20 * time.Second
	// timed is how often work is done that time brings.
	timed = 10 * time.Minute
	// fresh is how often the index of the findings and the policies are looked at.
	fresh = 2 * time.Second
)

func (c *serveCmd) Run(e *env) error {
	level := slog.LevelInfo
	if c.Verbose {
		level = slog.LevelDebug
	}
	logger := slog.New(slog.NewJSONHandler(e.stderr, &slog.HandlerOptions{Level: level}))
	e.logger = logger
	a, err := e.open()
	if err != nil {
		return err
	}
	secure := a.Config.TLS.Cert != ""
	ln, err := listen(e.ctx, c.Addr, secure)
	if err != nil {
		return err
	}
	defer ln.Close()
	hosts, err := c.hosts(a, ln, secure)
	if err != nil {
		return err
	}
	if a.Identity.Config.Origin == "" && onLoopback(ln.Addr()) && !secure {
		a.Identity.Config.Origin = portalOrigin(ln) // passkeys belong to a name, not to an address
	}
	api, err := a.API(web.Config{Auth: a.Identity, Hosts: hosts, TLS: secure, Logger: logger})
	if err != nil {
		return err
	}
	srv := api.HTTP()
	srv.BaseContext = func(net.Listener) context.Context { return context.WithoutCancel(e.ctx) }
	if secure {
		pair := &pair{cert: c.file(a, a.Config.TLS.Cert), key: c.file(a, a.Config.TLS.Key)}
		if _, err := pair.get(nil); err != nil {
			return err
		}
		srv.TLSConfig.GetCertificate = pair.get
	}
	if err := api.Registry().Register(a.Notifier.Collector()); err != nil {
		return fmt.Errorf("metrics: %w", err)
	}
	metrics, err := c.metrics(e.ctx, api)
	if err != nil {
		return err
	}
	defer metrics.Close()

	ctx, cancel := context.WithCancel(e.ctx)
	var work sync.WaitGroup
	work.Go(func() { _ = a.Log.Run(ctx) }) // always nil
	period := cmp.Or(c.period, timed)
	work.Go(func() { every(ctx, period, func() { c.timed(ctx, e, a, logger) }) })
	work.Go(func() { every(ctx, period, func() { c.reconcile(ctx, e, a, logger) }) })
	work.Go(func() { c.follow(ctx, a, logger) })
	work.Go(func() { a.Notifier.Run(ctx, func() access.Ask { return timedAsk(e, a) }) })
	failed := make(chan error, 1)
	go func() {
		if secure {
			failed <- srv.ServeTLS(ln, "", "")
		} else {
			failed <- srv.Serve(ln)
		}
	}()
	c.greet(e, ln, secure)

	select {
	case err = <-failed:
		err = fmt.Errorf("the server ended: %w: %w", coffer.ErrUnavailable, err)
	case <-e.ctx.Done():
		// No new requests; those under way end, streams are told to.
		end, stop := context.WithTimeout(context.WithoutCancel(e.ctx), drain)
		if serr := srv.Shutdown(end); serr != nil {
			logger.Warn("requests were broken off", "after", drain)
			_ = srv.Close() // what is left has had its time
		}
		stop()
	}
	api.Close() // jobs end after the item that they are at
	cancel()
	work.Wait() // the log is under a checkpoint
	return err
}

// listen listens on an address; without TLS on a loopback one alone.
func listen(ctx context.Context, addr string, secure bool) (net.Listener, error) {
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("cannot listen on %s: %w: %w", addr, coffer.ErrUnavailable, err)
	}
	if !secure && !onLoopback(ln.Addr()) {
		_ = ln.Close() // nothing came over it
		return nil, fmt.Errorf("%s can be reached from elsewhere; set tls in config.yaml, or listen on 127.0.0.1: %w", addr, coffer.ErrInvalid)
	}
	return ln, nil
}

func onLoopback(a net.Addr) bool {
	ap, err := netip.ParseAddrPort(a.String())
	return err == nil && ap.Addr().Unmap().IsLoopback()
}

// hosts are the names that the server answers for.
func (c *serveCmd) hosts(a *app.App, ln net.Listener, secure bool) ([]string, error) {
	var names []string
	if o := a.Config.Identity.Origin; o != "" {
		u, err := url.Parse(o)
		if err != nil {
			return nil, fmt.Errorf("configuration: identity.origin: %w", coffer.ErrInvalid)
		}
		names = append(names, u.Host)
	} else if secure && !onLoopback(ln.Addr()) {
		return nil, fmt.Errorf("configuration: identity.origin says under which name the server is reached; set it: %w", coffer.ErrInvalid)
	}
	return web.Hosts(ln.Addr(), names...), nil
}

func (c *serveCmd) file(a *app.App, name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(a.Home, name)
}

// metrics serves the metrics on a loopback address.
func (c *serveCmd) metrics(ctx context.Context, api *web.Server) (*http.Server, error) {
	srv := &http.Server{Handler: api.Metrics(), ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second}
	if c.Metrics == "" {
		return srv, nil
	}
	ln, err := listen(ctx, c.Metrics, false)
	if err != nil {
		return nil, fmt.Errorf("metrics: %w", err)
	}
	go func() { _ = srv.Serve(ln) }() // ends with the process
	return srv, nil
}

// greet says where the server is and how to sign in.
func (c *serveCmd) greet(e *env, ln net.Listener, secure bool) {
	scheme := "http"
	if secure {
		scheme = "https"
	}
	at := scheme + "://" + ln.Addr().String()
	if e.JSON {
		_ = e.out.element(map[string]string{"address": at}) // whoever started the server may have gone
		return
	}
	e.out.say("Coffer listens on %s", at)
	e.out.say("Programs: coffer token create, then Authorization: Bearer TOKEN. The API is described at %s/docs", at)
	portal := e.app.Identity.Config.Origin
	if portal == "" {
		portal = at
	}
	if c.people == nil {
		e.out.say("People:   coffer user add NAME --role engineer; then %s with the code", portal)
		return
	}
	e.out.say("\nOpen %s and sign in with a one-time code, good for an hour:", portal)
	for _, p := range c.people {
		e.out.say("  %-16s %s", p.role, p.code)
	}
}

// portalOrigin is where browsers of this machine find a server on a loopback address.
func portalOrigin(ln net.Listener) string {
	_, port, err := net.SplitHostPort(ln.Addr().String())
	if err != nil {
		return ""
	}
	return "http://" + net.JoinHostPort("localhost", port)
}

// every does work at once and then once in each period, until the context ends.
func every(ctx context.Context, period time.Duration, work func()) {
	tick := time.NewTicker(period)
	defer tick.Stop()
	for {
		work()
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// timedAsk is on behalf of who runs the server; where the operator has no rights, the policies may give them to a service.
func timedAsk(e *env, a *app.App) access.Ask {
	ask := a.Service("timed-work", "timed-"+store.NewVersion())
	if a.Config.Operator != "none" {
		ask.Caller, ask.Context.Local = e.caller, true
	}
	return ask
}

// timed does what time brings: it purges what is past its grace period, forgets old attempts, and removes what crashed writers left.
func (c *serveCmd) timed(ctx context.Context, e *env, a *app.App, logger *slog.Logger) {
	n, err := a.Remedy.EndGrace(ctx, timedAsk(e, a))
	if n > 0 {
		logger.Info("purged what was past its grace period", "plans", n)
	}
	if err != nil && ctx.Err() == nil {
		logger.Warn("what is past its grace period is not purged", "error", err)
	}
	if _, err := a.Once().Prune(ctx); err != nil && ctx.Err() == nil {
		logger.Warn("old attempts are not forgotten", "error", err)
	}
	if _, err := a.SweepStages(ctx); err != nil && ctx.Err() == nil {
		logger.Warn("what crashed writers left is not removed", "error", err)
	}
}

// reconcile compares what came in with Macie. It can take hours, for which nothing else waits.
func (c *serveCmd) reconcile(ctx context.Context, e *env, a *app.App, logger *slog.Logger) {
	if err := a.Reconcile(ctx, timedAsk(e, a), app.ReconcileEvery); err != nil && ctx.Err() == nil {
		logger.Warn("what came in is not compared with Macie", "error", err)
	}
}

// follow keeps the index of the findings at hand, so that no request waits for it to be built, and looks for changed policies, which are
// on record then whether or not anybody asks for something.
func (c *serveCmd) follow(ctx context.Context, a *app.App, logger *slog.Logger) {
	var work sync.WaitGroup
	work.Go(func() {
		a.Desk.Index().Follow(ctx, fresh, func(err error) { logger.Warn("the index of the findings is behind", "error", err) })
	})
	work.Go(func() {
		tick := time.NewTicker(fresh)
		defer tick.Stop()
		for {
			if _, err := a.Guard.Current(ctx); err != nil && ctx.Err() == nil {
				logger.Warn("it cannot be told whether the policies changed", "error", err)
			}
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	})
	work.Wait()
}

// pair is a certificate with its key, read again when a file changes.
type pair struct {
	cert, key string
	mu        sync.Mutex // guards the rest
	read      time.Time
	now       *tls.Certificate
}

// get returns the certificate. While new files do not fit together, as in the middle of a renewal, it is the old one.
func (p *pair) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	changed := time.Time{}
	for _, name := range []string{p.cert, p.key} {
		info, err := os.Stat(name)
		if err != nil && p.now == nil {
			return nil, fmt.Errorf("tls: %w: %w", coffer.ErrInvalid, errors.Unwrap(err))
		}
		if err == nil && info.ModTime().After(changed) {
			changed = info.ModTime()
		}
	}
	if p.now != nil && changed.Equal(p.read) {
		return p.now, nil
	}
	cert, err := tls.LoadX509KeyPair(p.cert, p.key)
	if err == nil {
		p.now, p.read = &cert, changed
	}
	if p.now == nil {
		return nil, fmt.Errorf("tls: certificate and key: %w: %w", coffer.ErrInvalid, err)
	}
	return p.now, nil
}
