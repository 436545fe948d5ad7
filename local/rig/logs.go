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

// maxLines bounds the memory that [Logs] takes. Later lines are checked too, but
// not kept.
const maxLines = 5000

// Logs collects the function's log lines and checks each one as it arrives.
type Logs struct {
	mu       sync.Mutex
	partial  string    // the beginning of a line that has not ended
	lines    []string  // the first maxLines
	problems []string  // one for each check that failed
	diverted io.Writer // see Divert
}

// Line is one line of the function's log.
type Line struct {
	Level     string   `json:"level"`
	Message   string   `json:"message"`
	Timestamp string   `json:"timestamp"`
	RequestID string   `json:"requestId"`
	Route     string   `json:"route"`
	AppID     string   `json:"appid"`
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
	if l.diverted != nil {
		return l.diverted.Write(p)
	}
	text := l.partial + string(p)
	for {
		line, rest, complete := strings.Cut(text, "\n")
		if !complete {
			l.partial = text
			return len(p), nil
		}
		text = rest
		l.add(line)
	}
}

func (l *Logs) add(text string) {
	if len(l.lines) < maxLines {
		l.lines = append(l.lines, text)
	}
	var line Line
	err := json.Unmarshal([]byte(text), &line)
	if err != nil || line.Level == "" || line.Message == "" || line.Timestamp == "" {
		l.problems = append(l.problems, fmt.Sprintf("got %s, want JSON with level, message and timestamp", text))
	}
	if leak := hostile.Leak(text); leak != "" {
		l.problems = append(l.problems, fmt.Sprintf("got %s, want it without %q", text, leak))
	}
}

// Divert sends all later output to w, unchecked.
func (l *Logs) Divert(w io.Writer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.diverted = w
}

// Check fails the test if a line failed its checks.
func (l *Logs) Check(t testing.TB) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.partial != "" {
		t.Errorf("the last log line: got %q, want a line end after it", l.partial)
	}
	for _, problem := range l.problems[:min(len(l.problems), 5)] {
		t.Errorf("one of %d bad log lines: %s", len(l.problems), problem)
	}
}

// Text returns the log.
func (l *Logs) Text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.lines, "\n")
}

// Request returns the log line with got's RequestID, which only a failure's body sets.
// It waits for the line, which may arrive shortly after the answer.
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

// Requests returns the log lines that are about requests.
func (l *Logs) Requests() (lines []Line) {
	for text := range strings.Lines(l.Text()) {
		var line Line
		if json.Unmarshal([]byte(text), &line) == nil && line.Outcome != "" {
			lines = append(lines, line)
		}
	}
	return lines
}
