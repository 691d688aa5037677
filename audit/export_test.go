package audit

import (
	"io/fs"
	"sync"
	"testing/fstest"
)

// Memory is a folder of the log in memory, for tests that run it thousands of times. It survives the logs that use it.
type Memory struct {
	mu    sync.Mutex
	files fstest.MapFS
}

// FS returns what is in the folder now.
func (m *Memory) FS() fs.FS {
	m.mu.Lock()
	defer m.mu.Unlock()
	snapshot := make(fstest.MapFS, len(m.files))
	for name, f := range m.files {
		snapshot[name] = f
	}
	return snapshot
}

// Open implements fs.FS.
func (m *Memory) Open(name string) (fs.File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.files.Open(name)
}

// UseMemory makes l keep its files in m, each write going through call.
func UseMemory(l *Log, m *Memory, call func(op string, effect func() error) error) {
	l.sequencer.files.read = m
	l.sequencer.files.put = func(name string, data []byte) error {
		return call("file.put", func() error {
			m.mu.Lock()
			defer m.mu.Unlock()
			if m.files == nil {
				m.files = make(fstest.MapFS)
			}
			m.files[name] = &fstest.MapFile{Data: append([]byte(nil), data...)}
			return nil
		})
	}
}

// PutFile makes l write its files with put.
func PutFile(l *Log, put func(name string, data []byte) error) { l.sequencer.files.put = put }

// The writer's id of l, and what the tests of the layout need.
func Writer(l *Log) string { return l.chain.writer }

var (
	TilePath      = tilePath
	AppendLeaf    = appendLeaf
	SplitBundle   = splitBundle
	ParseTilePath = parseTilePath
	Split         = splitCheckpoints
)

const (
	LaterMax = laterMax
	Interval = interval
	IdleFor  = idleFor
	LeaseFor = leaseFor
)
