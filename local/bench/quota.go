package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// quota is a control group whose processes get so much CPU time in each period.
type quota struct{ dir string }

// newQuota makes one, under version 1 of control groups or version 2, where this
// process may.
func newQuota(share, period time.Duration) (q quota, err error) {
	name := "wechat-phone-bench-" + strconv.Itoa(os.Getpid())
	for _, version := range []struct {
		root  string
		files [][2]string
	}{
		{"/sys/fs/cgroup/cpu", [][2]string{
			{"cpu.cfs_period_us", fmt.Sprint(period.Microseconds())}, {"cpu.cfs_quota_us", fmt.Sprint(share.Microseconds())},
		}},
		{"/sys/fs/cgroup", [][2]string{{"cpu.max", fmt.Sprint(share.Microseconds(), " ", period.Microseconds())}}},
	} {
		q = quota{filepath.Join(version.root, name)}
		if err = os.Mkdir(q.dir, 0o700); err != nil {
			continue
		}
		for _, file := range version.files {
			if err = q.write(file[0], file[1]); err != nil {
				break
			}
		}
		if err == nil {
			return q, nil
		}
		q.remove()
	}
	return q, err
}

// write writes a file that the group has; it makes none.
func (q quota) write(name, text string) error {
	file, err := os.OpenFile(filepath.Join(q.dir, name), os.O_WRONLY, 0) // #nosec G304 -- constants
	if err != nil {
		return err
	}
	_, err = file.WriteString(text)
	if closing := file.Close(); err == nil {
		err = closing
	}
	return err
}

// hold puts a process into the group.
func (q quota) hold(pid int) error { return q.write("cgroup.procs", strconv.Itoa(pid)) }

// remove ends the group, once its processes have ended.
func (q quota) remove() { _ = os.Remove(q.dir) }
