package sqlite_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"coffer"
	"coffer/store"
	"coffer/store/sqlite"
)

// TestReadsSeeEveryAcknowledgedWrite runs writers and readers on two handles of one file at once. A reader who begins after a write was
// acknowledged sees it or a later one, through either handle, by Get and by Query, whatever is kept in memory.
func TestReadsSeeEveryAcknowledgedWrite(t *testing.T) {
	path := temp(t)
	dbs := []*sqlite.DB{open(t, path), open(t, path)}
	ctx := context.Background()
	const keys, writes = 6, 50
	// Written in turn: the value is a number, and after every fifth write the item is deleted, which counts as the next number.
	var acked [keys]atomic.Int64
	key := func(i int) store.Key { return store.Key{Part: fmt.Sprint("part", i/2), Sort: fmt.Sprint("sort", i%2)} }
	var writers, readers sync.WaitGroup
	done := make(chan struct{})
	for i := range keys {
		writers.Go(func() {
			for n := int64(1); n <= writes; n++ {
				op := put(key(i).Part, key(i).Sort, store.NewVersion(), strconv.FormatInt(n, 10), store.Any)
				if n%5 == 0 {
					op = store.Op{Verb: store.Delete, Expect: store.Any, Item: store.Item{Key: key(i)}}
				}
				if err := dbs[rand.IntN(2)].Apply(ctx, op); err != nil {
					t.Error(err)
					return
				}
				acked[i].Store(n)
			}
		})
	}
	// seen checks what a reader found, by the number that was acknowledged before it began.
	seen := func(how string, before int64, value string, found bool) {
		if found {
			n, _ := strconv.ParseInt(value, 10, 64)
			if n < before {
				t.Errorf("%s: read %d after %d was acknowledged", how, n, before)
			}
			return
		}
		// Absent before the first write, and after a deletion that is the last acknowledged write or a later one.
		if before%5 != 0 && before/5 == writes/5 {
			t.Errorf("%s: nothing after %d was acknowledged", how, before)
		}
	}
	for range 4 {
		readers.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				i, db := rand.IntN(keys), dbs[rand.IntN(2)]
				before := acked[i].Load()
				if rand.IntN(2) == 0 {
					it, err := db.Get(ctx, key(i))
					if err != nil && !errors.Is(err, coffer.ErrNotFound) {
						t.Error(err)
						return
					}
					seen("get", before, string(it.Value), err == nil)
					continue
				}
				value, found := "", false
				for it, err := range db.Query(ctx, key(i).Part, store.Range{}) {
					if err != nil {
						t.Error(err)
						return
					}
					if it.Key == key(i) {
						value, found = string(it.Value), true
					}
				}
				seen("query", before, value, found)
			}
		})
	}
	writers.Wait()
	close(done)
	readers.Wait()
	// In the end both agree, read twice so that the second answer comes from memory.
	for i := range keys {
		for range 2 {
			for _, db := range dbs {
				if _, err := db.Get(ctx, key(i)); !errors.Is(err, coffer.ErrNotFound) {
					t.Errorf("key %d: %v, want it deleted by write %d", i, err, writes)
				}
			}
		}
	}
}

// answerPart is another process that writes what it is told and says when it is done.
func answerPart(path string) error {
	db, err := sqlite.Open(path)
	if err != nil {
		return err
	}
	defer db.Close()
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		op := put("part", "sort", store.NewVersion(), in.Text(), store.Any)
		if in.Text() == "delete" {
			op = store.Op{Verb: store.Delete, Expect: store.Any, Item: store.Item{Key: op.Item.Key}}
		}
		if err := db.Apply(context.Background(), op); err != nil {
			return err
		}
		fmt.Println("done")
	}
	return in.Err()
}

// TestAnotherProcessIsSeenAtOnce: what another process has written or deleted is what the next read finds, though the item was read
// before, again and again.
func TestAnotherProcessIsSeenAtOnce(t *testing.T) {
	path := temp(t)
	db := open(t, path)
	cmd := process(t, "answer", path)
	in, err := cmd.StdinPipe()
	must(t, err)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	defer func() {
		_ = in.Close()
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	}()
	answers := bufio.NewReader(out)
	ctx := context.Background()
	for n := range 60 {
		word := strconv.Itoa(n)
		if n%7 == 6 {
			word = "delete"
		}
		if n%3 == 0 { // a commit of our own between, of something else
			must(t, db.Apply(ctx, put("other", "sort", store.NewVersion(), word, store.Any)))
		}
		_, err := io.WriteString(in, word+"\n")
		must(t, err)
		line, err := answers.ReadString('\n')
		must(t, err)
		if strings.TrimSpace(line) != "done" {
			t.Fatalf("the other process says %q", line)
		}
		for range 3 {
			it, err := db.Get(ctx, store.Key{Part: "part", Sort: "sort"})
			if word == "delete" {
				if !errors.Is(err, coffer.ErrNotFound) {
					t.Fatalf("read %v after another process had deleted it", err)
				}
				continue
			}
			must(t, err)
			if string(it.Value) != word {
				t.Fatalf("read %q after another process had written %q", it.Value, word)
			}
			it.Value[0] = '?' // a reader's own
			count := 0
			for it, err := range db.Query(ctx, "part", store.Range{From: "s"}) {
				must(t, err)
				if count++; string(it.Value) != word {
					t.Fatalf("query: %q after another process had written %q", it.Value, word)
				}
			}
			if count != 1 {
				t.Fatalf("query: %d items", count)
			}
		}
	}
}
