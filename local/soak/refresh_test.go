//go:build soak

package soak

import (
	"testing"
	"time"

	"wechat-phone/local/hostile"
	"wechat-phone/local/rig"
	"wechat-phone/local/stage"
)

const rotated = "canary of a rotated secret"

// TestSoakRefresh makes a re-read of the secret fail in every way. The function
// must recover 30 s later.
func TestSoakRefresh(t *testing.T) {
	for _, reading := range hostile.Readings() {
		t.Run(reading.Name, func(t *testing.T) {
			t.Parallel()
			r := rig.Raise(t, nil)
			r.WeChat.SetSecret(rotated)
			r.SetReading(reading)
			r.Want(reading.Name, r.Post(r.NewTap()), reading.Want)
			r.SetReading(hostile.Reading{Text: stage.Secret(stage.AppID, rotated)})
			time.Sleep(30 * time.Second)
			r.WantPhone("30 s after "+reading.Name, r.NewTap())
		})
	}
	t.Run("permanently wrong", func(t *testing.T) {
		t.Parallel()
		r := rig.Raise(t, nil)
		r.WeChat.SetSecret(rotated)
		for range 650 {
			r.WantFailure("a wrong secret", r.Post(r.NewTap()), "misconfigured", 500, "none")
			time.Sleep(100 * time.Millisecond)
		}
		// The function reads the secret at most once in 30 s, however many requests
		// WeChat rejects.
		if calls := r.Secrets.Calls() - 1; calls != 3 {
			t.Errorf("got %d re-reads in 65 s of rejections, want 3", calls)
		}
	})
}
