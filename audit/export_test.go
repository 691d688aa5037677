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

// Put implements Files.
func (m *Memory) Put(name string, data []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.files == nil {
		m.files = make(fstest.MapFS)
	}
	m.files[name] = &fstest.MapFile{Data: append([]byte(nil), data...)}
	return nil
}

// Prune implements Files: everything stays.
func (m *Memory) Prune(string) {}

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
