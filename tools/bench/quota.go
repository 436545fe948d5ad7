package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// quota is a control group whose processes get so much CPU time in each period.
type quota struct{ dir string }

// newQuota makes one, under version 1 of control groups or version 2, where this
// process may. Its error is why neither lets it.
func newQuota(share, period time.Duration) (quota, error) {
	name := "wechat-phone-bench-" + strconv.Itoa(os.Getpid())
	var reasons []error
	for _, version := range []struct {
		root  string
		files [][2]string
	}{
		{"/sys/fs/cgroup/cpu", [][2]string{
			{"cpu.cfs_period_us", fmt.Sprint(period.Microseconds())}, {"cpu.cfs_quota_us", fmt.Sprint(share.Microseconds())},
		}},
		{"/sys/fs/cgroup", [][2]string{{"cpu.max", fmt.Sprint(share.Microseconds(), " ", period.Microseconds())}}},
	} {
		q := quota{filepath.Join(version.root, name)}
		err := os.Mkdir(q.dir, 0o700)
		for _, file := range version.files {
			if err == nil {
				err = q.write(file[0], file[1])
			}
		}
		if err == nil {
			return q, nil
		}
		q.remove()
		if failure, ok := errors.AsType[*fs.PathError](err); ok {
			err = failure.Err
		}
		reasons = append(reasons, err)
	}
	return quota{}, fmt.Errorf("%w, and %w", reasons[0], reasons[1])
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
