//go:build soak

package soak

import (
	"encoding/base64"
	"fmt"
	"slices"
	"testing"
	"time"

	"wechat-phone/local/rig"
	"wechat-phone/local/stage"
	"wechat-phone/local/wechattest"
)

// BenchmarkOracle takes one step of a padding-oracle attack. It changes the byte
// that decides whether the padding is good, and nothing else. It reports how well
// the response time tells good padding from bad: the difference of the medians,
// and the probability that one is slower (0.5 means no difference). For
// comparison, it reports the same for two groups of identical requests.
func BenchmarkOracle(b *testing.B) {
	r := rig.Raise(b, nil)
	user := rig.NewUser()
	pad := paddings(b, user)
	kinds := []struct {
		tap    wechattest.Tap
		reason string
		took   []time.Duration
	}{{tap: pad(17), reason: "padding"}, {tap: pad(1), reason: "json"}, {tap: pad(17), reason: "padding"}}
	for i := range kinds {
		got := r.Post(r.Grant(user, kinds[i].tap))
		if reason := r.Logs.Request(b, got).Reason; reason != kinds[i].reason {
			b.Fatalf("kind %d: got reason %q, want %q", i, reason, kinds[i].reason)
		}
	}
	for i := 0; b.Loop(); i++ {
		for j := range kinds { // in rotating order
			kind := &kinds[(i+j)%len(kinds)]
			tap := r.Grant(user, kind.tap)
			began := time.Now()
			got := r.Post(tap)
			kind.took = append(kind.took, time.Since(began))
			if got.Error != "undecryptable" {
				b.Fatalf("got %s, want undecryptable", got.Body)
			}
		}
	}
	for i := range kinds {
		slices.Sort(kinds[i].took)
	}
	median := func(i int) float64 { return float64(kinds[i].took[len(kinds[i].took)/2]) }
	b.ReportMetric(median(0)/1e3, "µs/median")
	b.ReportMetric((median(1)-median(0))/1e3, "µs/json-padding")
	b.ReportMetric((median(2)-median(0))/1e3, "µs/padding-padding")
	b.ReportMetric(slower(kinds[1].took, kinds[0].took), "p/json-slower")
	b.ReportMetric(slower(kinds[2].took, kinds[0].took), "p/padding-slower")
}

// paddings returns a function that returns the same sealed data each time, with
// last as its last byte of padding.
func paddings(b *testing.B, user wechattest.User) func(last byte) wechattest.Tap {
	b.Helper()
	text := fmt.Appendf(nil, `{"phoneNumber":"13599991111","purePhoneNumber":"13599991111","countryCode":"86",`+
		`"watermark":{"timestamp":%d,"appid":%q}}`, time.Now().Unix(), stage.AppID)
	padding := byte(16 - len(text)%16)
	tap := wechattest.Seal(user.SessionKey, text)
	return func(last byte) wechattest.Tap {
		data, err := base64.StdEncoding.DecodeString(tap.EncryptedData)
		if err != nil {
			b.Fatal(err)
		}
		data[len(data)-17] ^= padding ^ last
		return wechattest.Tap{EncryptedData: base64.StdEncoding.EncodeToString(data), IV: tap.IV}
	}
}

// slower returns the probability that a random element of a is greater than a
// random element of b. Both must be sorted.
func slower(a, b []time.Duration) float64 {
	less, equal, wins := 0, 0, 0.0
	for _, t := range a {
		for less < len(b) && b[less] < t {
			less++
		}
		for equal < len(b) && b[equal] <= t {
			equal++
		}
		wins += float64(less+equal) / 2
	}
	return wins / float64(len(a)) / float64(len(b))
}
