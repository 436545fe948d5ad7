//go:build unix

package rig

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"wechat-phone/local/hostile"
)

// Freeze freezes the process, as Lambda does between two invocations, and calls
// meanwhile. It then posts a request, with a phone code or with sealed data, and
// lets the process run again. The request must succeed within 2 s, and WeChat must
// see its code once.
func (r *Rig) Freeze(meanwhile func(), byPhoneCode bool) {
	r.t.Helper()
	if err := r.Function.Signal(syscall.SIGSTOP); err != nil {
		r.t.Fatal(err)
	}
	meanwhile()
	sealed, phone := r.NewTap(), r.TapPhone(NewUser())
	code, post := sealed.Code, func() Answer { return r.Post(sealed) }
	if byPhoneCode {
		code, post = phone.PhoneCode, func() Answer { return r.PostPhone(phone) }
	}
	answer := make(chan Answer)
	go func() { answer <- post() }()
	time.Sleep(5 * time.Millisecond) // let the event reach the queue
	began := time.Now()
	if err := r.Function.Signal(syscall.SIGCONT); err != nil {
		r.t.Fatal(err)
	}
	got := <-answer
	r.Want("after a freeze", got, hostile.Want{})
	if seen := r.WeChat.Seen(code); seen != 1 {
		r.t.Errorf("after a freeze: got the code %d times at WeChat, want once", seen)
	}
	if took := time.Since(began); took > 2*time.Second {
		r.t.Errorf("after a freeze: got the answer after %v, want 2 s at most", took)
	}
}

// Memory returns a field of the process's /proc/PID/status in bytes, such as
// VmRSS. It returns false if the system has no /proc.
func (r *Rig) Memory(name string) (int, bool) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", r.Function.PID()))
	if err != nil {
		return 0, false
	}
	_, rest, _ := strings.Cut(string(text), name+":")
	kB, err := strconv.Atoi(strings.Fields(rest)[0])
	return kB << 10, err == nil
}
