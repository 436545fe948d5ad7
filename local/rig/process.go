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

// Freeze stops the process, as Lambda does between two invocations, and calls
// meanwhile. It hands the next event to the process and lets it run again. The
// request, with a phone code or with sealed data, must succeed, and WeChat must
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
	time.Sleep(5 * time.Millisecond) // until the event waits for the process
	began := time.Now()
	if err := r.Function.Signal(syscall.SIGCONT); err != nil {
		r.t.Fatal(err)
	}
	got := <-answer
	r.Want("after a freeze", got, hostile.Want{})
	if seen := r.WeChat.Seen(code); seen != 1 {
		r.t.Errorf("after a freeze: WeChat saw the code %d times, want once", seen)
	}
	if took := time.Since(began); took > 2*time.Second {
		r.t.Errorf("after a freeze: the answer took %v, want 2 s at most", took)
	}
}

// Memory returns a figure of the process's /proc/PID/status, in bytes. It returns
// false if the system has no /proc.
func (r *Rig) Memory(name string) (int, bool) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", r.Function.PID()))
	if err != nil {
		return 0, false
	}
	_, rest, _ := strings.Cut(string(text), name+":")
	kB, err := strconv.Atoi(strings.Fields(rest)[0])
	return kB << 10, err == nil
}
