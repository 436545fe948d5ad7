package main

import (
	"testing"

	"wechat-phone/local/rig"
	"wechat-phone/local/wechattest"
)

// wantSeen checks how many requests about key WeChat has received. key is a code,
// a path or a hash. name says what happened, for the failure text.
func wantSeen(t *testing.T, r *rig.Rig, name, key string, want int) {
	t.Helper()
	if got := r.WeChat.Seen(key); got != want {
		t.Errorf("%s: WeChat received %d requests, want %d", name, got, want)
	}
}

// wantFetches checks how often an access token has been fetched.
func wantFetches(t *testing.T, r *rig.Rig, name string, want int) {
	t.Helper()
	if got := r.WeChat.Seen(wechattest.TokenPath); got != want {
		t.Errorf("%s: got %d fetches of the token, want %d", name, got, want)
	}
}

// wantReads checks how often the secret has been read.
func wantReads(t *testing.T, r *rig.Rig, name string, want int) {
	t.Helper()
	if got := r.Secrets.Calls(); got != want {
		t.Errorf("%s: got %d reads of the secret, want %d", name, got, want)
	}
}

// wantStatus checks only an answer's status.
func wantStatus(t *testing.T, name string, got rig.Answer, want int) {
	t.Helper()
	if got.Status != want {
		t.Errorf("%s: got %d %s, want %d", name, got.Status, got.Body, want)
	}
}
