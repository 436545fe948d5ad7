package rig

import (
	"encoding/json/v2"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"

	"wechat-phone/local/hostile"
)

// keptLines bounds the memory that [Logs] takes. All lines are checked.
const keptLines = 5000

// Logs collects what the function writes, and checks each line as it comes.
type Logs struct {
	mu      sync.Mutex
	partial string
	lines   []string // the first ones
	wrong   []string
	instead io.Writer // gets what is written, unless nil
}

// Line is a line of the function's log.
type Line struct {
	Level     string   `json:"level"`
	Message   string   `json:"message"`
	Timestamp string   `json:"timestamp"`
	RequestID string   `json:"requestId"`
	Route     string   `json:"route"`
	Outcome   string   `json:"outcome"`
	Status    int      `json:"status"`
	ErrCode   int      `json:"errcode"`
	RID       string   `json:"rid"`
	Reason    string   `json:"reason"`
	WeChatMs  *float64 `json:"wechatMs"`
	OwnMs     *float64 `json:"ownMs"`
	TotalMs   *float64 `json:"totalMs"`
	First     *bool    `json:"first"`
}

// Write implements [io.Writer].
func (l *Logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.instead != nil {
		return l.instead.Write(p)
	}
	text := l.partial + string(p)
	for {
		line, rest, whole := strings.Cut(text, "\n")
		if !whole {
			l.partial = text
			return len(p), nil
		}
		text = rest
		l.add(line)
	}
}

func (l *Logs) add(text string) {
	if len(l.lines) < keptLines {
		l.lines = append(l.lines, text)
	}
	var line Line
	err := json.Unmarshal([]byte(text), &line)
	if err != nil || line.Level == "" || line.Message == "" || line.Timestamp == "" {
		l.wrong = append(l.wrong, "not JSON with level, message and timestamp: "+text)
	}
	if leak := hostile.Leak(text); leak != "" {
		l.wrong = append(l.wrong, fmt.Sprintf("holds %q: %s", leak, text))
	}
}

// Divert sends what comes from now on to another writer, unchecked.
func (l *Logs) Divert(to io.Writer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.instead = to
}

// Check fails the test if a line was wrong.
func (l *Logs) Check(t testing.TB) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.partial != "" {
		t.Errorf("a log line has no end: %q", l.partial)
	}
	for _, wrong := range l.wrong[:min(len(l.wrong), 5)] {
		t.Errorf("one of %d wrong log lines: %s", len(l.wrong), wrong)
	}
}

// Text returns the lines.
func (l *Logs) Text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.lines, "\n")
}

// Request returns the line of a request that failed. The line may come a little
// after the answer, so Request waits for it.
func (l *Logs) Request(t testing.TB, got Answer) (found Line) {
	t.Helper()
	WaitFor(t, "the request has a log line", func() bool {
		for _, line := range l.Requests() {
			if line.RequestID == got.RequestID {
				found = line
				return true
			}
		}
		return false
	})
	return found
}

// Requests returns the lines of requests.
func (l *Logs) Requests() (lines []Line) {
	for text := range strings.Lines(l.Text()) {
		var line Line
		if json.Unmarshal([]byte(text), &line) == nil && line.Outcome != "" {
			lines = append(lines, line)
		}
	}
	return lines
}
