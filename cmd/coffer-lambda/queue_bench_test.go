package main

import (
	"cmp"
	"flag"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"golang.org/x/sync/errgroup"

	"coffer/app"
	"coffer/internal/awsfake/kmsfake"
	"coffer/internal/awsfake/s3fake"
	"coffer/internal/awsmeter"
	"coffer/internal/lambdaharness"
	"coffer/internal/lookalike"
	"coffer/pipeline"
)

var findings = flag.Int("findings", 300, "how many findings BenchmarkQueue has in the queue")

// BenchmarkQueue has findings on small objects taken in through the queue, in batches of ten, by one process of intake and by two: how many a
// second, where the processors' time goes, and what is asked of whom. Then the same with S3 and KMS in Go in place of servers that others
// wrote, to see how much of it is theirs. Run it with -benchtime 1x; on a machine with other work the times of the processors count, not the rates.
func BenchmarkQueue(b *testing.B) {
	for _, n := range []int{1, 2} {
		b.Run(fmt.Sprintf("processes-%d", n), func(b *testing.B) { inCloud(b).rate(b, n) })
	}
	b.Run("quick", func(b *testing.B) {
		fake := s3fake.New()
		fake.AccessKey, fake.SecretKey, fake.Region = lookalike.AccessKey, lookalike.SecretKey, lookalike.Region
		s3, kms := httptest.NewServer(fake), httptest.NewServer(&kmsfake.Fake{})
		b.Cleanup(s3.Close)
		b.Cleanup(kms.Close)
		inCloudOn(b, s3.URL, kms.URL).rate(b, 1)
	})
	b.Run("calls", func(b *testing.B) { inCloud(b).asked(b, min(*findings, 30)) })
}

// fill puts n small objects with a finding each into the installation, and the events of them into a queue of their own.
func (c *cloud) fill(n int) (queue string) {
	c.Helper()
	// What is taken from this queue is hidden for longer than all of it takes.
	q, err := c.sqs.CreateQueue(c.Context(), &sqs.CreateQueueInput{QueueName: aws.String(c.name + "-findings"),
		Attributes: map[string]string{"VisibilityTimeout": "720"}})
	if err != nil {
		c.Fatal(err)
	}
	conf, err := config.LoadDefaultConfig(c.Context())
	if err != nil {
		c.Fatal(err)
	}
	client := s3.NewFromConfig(conf, func(o *s3.Options) { o.BaseEndpoint, o.UsePathStyle = &c.s3, true })
	var g errgroup.Group
	g.SetLimit(8)
	for i := range n {
		key, id := fmt.Sprintf("statements/%04d.csv", i), fmt.Sprintf("finding-%04d", i)
		event := string(c.found(key, id, cardList))
		g.Go(func() error {
			_, err := client.PutObject(c.Context(), &s3.PutObjectInput{
				Bucket: aws.String(c.bucket()), Key: &key, Body: strings.NewReader(cardList),
			})
			if err == nil {
				_, err = c.sqs.SendMessage(c.Context(), &sqs.SendMessageInput{QueueUrl: q.QueueUrl, MessageBody: &event})
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		c.Fatal(err)
	}
	return *q.QueueUrl
}

// intakes returns processes of intake, started and with the installation open.
func (c *cloud) intakes(n int, env []string) []*lambdaharness.Function {
	c.Helper()
	var out []*lambdaharness.Function
	for range n {
		f := &lambdaharness.Function{Name: "intake", Binary: shipped.built(c), Env: env}
		c.Cleanup(f.Kill)
		if _, err := f.Invoke([]byte(`{"Records":[{"messageId":"warm","eventSource":"aws:sqs","body":"{\"coffer.job\":\"job-0000\"}"}]}`)); err != nil {
			c.Fatalf("%v\n%s", err, f.Said())
		}
		out = append(out, f)
	}
	return out
}

// take has the processes empty a queue.
func (c *cloud) take(queue string, processes []*lambdaharness.Function) {
	c.Helper()
	var g errgroup.Group
	for _, f := range processes {
		g.Go(func() error {
			m := &lambdaharness.Mapping{SQS: c.sqs, URL: queue, Function: f}
			for {
				if got, _, err := m.Poll(c.Context()); err != nil || got == 0 {
					return err
				}
			}
		})
	}
	if err := g.Wait(); err != nil {
		c.Fatal(err)
	}
	if left := c.count(queue); left != "0" {
		c.Fatalf("%s messages are left", left)
	}
}

// allSealed demands that n findings came in and are sealed.
func (c *cloud) allSealed(n int) {
	c.Helper()
	a, ask := c.look()
	arrivals, err := a.Pipeline.ListArrivals(c.Context(), ask)
	if err != nil {
		c.Fatal(err)
	}
	sealed := 0
	for _, x := range arrivals {
		if x.Status == pipeline.Sealed {
			sealed++
		}
	}
	if sealed != n {
		c.Fatalf("%d of %d findings are sealed", sealed, n)
	}
}

// rate measures how n processes take findings in.
func (c *cloud) rate(b *testing.B, n int) {
	queue := c.fill(*findings)
	processes := c.intakes(n, c.fn[app.Intake].Env)
	before := processors(b)
	begun := time.Now()
	for b.Loop() {
		c.take(queue, processes)
	}
	took := time.Since(begun)
	used := processors(b)
	b.StopTimer()
	c.allSealed(*findings)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(*findings)/took.Seconds(), "findings/s")
	var all time.Duration
	for _, name := range slices.Sorted(maps.Keys(used)) {
		d := used[name] - before[name]
		all += d
		b.ReportMetric(d.Seconds()*1000/float64(*findings), name+"-cpu-ms/finding")
	}
	b.ReportMetric(all.Seconds()/took.Seconds(), "processors")
}

// names are what the programs of the look-alikes are called here.
var names = map[string]string{"java": "dynamodb", "versitygw": "s3", "moto_server": "moto", "bootstrap": "intake"}

// processors returns the processors' time that this process, by the name "test", and all below it have used since they started.
func processors(b *testing.B) map[string]time.Duration {
	b.Helper()
	type process struct {
		name   string
		parent int
		used   time.Duration
	}
	all := map[int]process{}
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil || len(stats) == 0 {
		b.Skip("no /proc")
	}
	for _, file := range stats {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // it ended
		}
		// pid (name) state ppid ... utime stime, the 14th and 15th, in ticks of 10 ms (proc_pid_stat(5)).
		pid, rest, _ := strings.Cut(string(text), " (")
		name, rest, _ := strings.Cut(rest, ") ")
		w := strings.Fields(rest)
		if len(w) < 13 {
			b.Fatalf("%s has another form", file)
		}
		id, err := strconv.Atoi(pid)
		parent, err2 := strconv.Atoi(w[1])
		user, err3 := strconv.Atoi(w[11])
		system, err4 := strconv.Atoi(w[12])
		if err := cmp.Or(err, err2, err3, err4); err != nil {
			b.Fatalf("%s has another form: %v", file, err)
		}
		all[id] = process{name, parent, time.Duration(user+system) * 10 * time.Millisecond}
	}
	used := map[string]time.Duration{}
	for id, p := range all {
		if id == os.Getpid() {
			used["test"] += p.used
			continue
		}
		for at := p.parent; at > 1; at = all[at].parent {
			if at == os.Getpid() {
				if name := names[p.name]; name != "" {
					used[name] += p.used
				}
				break
			}
		}
	}
	return used
}

// asked counts what one process of intake asks of whom for n findings, and how long the answers take.
func (c *cloud) asked(b *testing.B, n int) {
	queue := c.fill(n)
	var (
		mu    sync.Mutex
		calls = map[awsmeter.Op]int{}
		took  = map[string]time.Duration{} // by service
	)
	env := slices.Clone(c.fn[app.Intake].Env)
	for _, to := range c.servers {
		target, err := url.Parse(to)
		if err != nil {
			b.Fatal(err)
		}
		proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.Host = r.In.Host // it is signed
		}}
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			op, begun := awsmeter.Name(r), time.Now()
			proxy.ServeHTTP(w, r)
			mu.Lock()
			defer mu.Unlock()
			calls[op]++
			took[op.Service] += time.Since(begun)
		}))
		b.Cleanup(srv.Close)
		for i := range env {
			env[i] = strings.ReplaceAll(env[i], to, srv.URL)
		}
	}
	processes := c.intakes(1, env)
	mu.Lock()
	clear(calls)
	clear(took)
	mu.Unlock()
	for b.Loop() {
		c.take(queue, processes)
	}
	c.allSealed(n)
	mu.Lock()
	defer mu.Unlock()
	b.ReportMetric(0, "ns/op")
	byService := map[string]int{}
	for _, op := range slices.SortedFunc(maps.Keys(calls), func(x, y awsmeter.Op) int {
		return cmp.Or(cmp.Compare(x.Service, y.Service), cmp.Compare(x.Name, y.Name))
	}) {
		byService[op.Service] += calls[op]
		fmt.Fprintf(os.Stdout, "%-9s %-26s %6.2f for a finding\n", op.Service, op.Name, float64(calls[op])/float64(n))
	}
	for s, k := range byService {
		b.ReportMetric(float64(k)/float64(n), s+"-calls/finding")
		b.ReportMetric(took[s].Seconds()*1000/float64(k), s+"-ms/call")
	}
}
