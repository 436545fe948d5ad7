package main

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"wechat-phone/local/hostile"
	"wechat-phone/local/lambdatest"
	"wechat-phone/local/stage"
	"wechat-phone/local/wechattest"
	"wechat-phone/shared/wechat"
	"wechat-phone/tools/bench/sides"
)

// BenchmarkHandler answers an event in this process, with a WeChat that answers
// at once, against net/http getting the same answer over a kept connection. The
// floor is the same bytes over a connection, written and read by nobody's
// client: the server and the kernel take most of the time of all three.
func BenchmarkHandler(b *testing.B) {
	user := hostile.User(0)
	server := httptest.NewServer(wechattest.Accept(user))
	defer server.Close()
	client, err := wechat.New(server.URL)
	if err != nil {
		b.Fatal(err)
	}
	h := &handler{
		secrets: known{}, wechat: client, timeout: 4 * time.Second, maxAge: time.Hour,
		now: time.Now, log: slog.New(slog.NewJSONHandler(io.Discard, nil)),
	}
	tap := wechattest.New(stage.AppID, stage.AppSecret, time.Now).SealPhone(user)
	tap.Code = hostile.Code(0)
	post := httptest.NewRequest(http.MethodPost, "/phone", nil)
	post.Header.Set("Content-Type", "application/json")
	event := []byte(hostile.JSON(lambdatest.NewEvent(post, []byte(hostile.JSON(tap)))))
	ctx := context.Background()

	get, err := http.NewRequest(http.MethodGet, server.URL+"/sns/jscode2session?appid="+stage.AppID+
		"&secret="+stage.AppSecret+"&js_code="+tap.Code+"&grant_type=authorization_code", nil)
	if err != nil {
		b.Fatal(err)
	}
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	var request bytes.Buffer
	if err := get.Write(&request); err != nil {
		b.Fatal(err)
	}
	room := make([]byte, 4096) // an answer comes in one piece
	sides.Run(b, 256,
		sides.Side{Name: "ours", Do: func() {
			if answer, err := h.Invoke(ctx, event); err != nil || !bytes.Contains(answer, []byte(`"statusCode":200`)) {
				b.Fatal(string(answer), err)
			}
		}},
		sides.Side{Name: "reference", Do: func() {
			answer, err := http.DefaultClient.Do(get)
			if err != nil {
				b.Fatal(err)
			}
			if _, err := io.Copy(io.Discard, answer.Body); err != nil {
				b.Fatal(err)
			}
			_ = answer.Body.Close()
		}},
		sides.Side{Name: "floor", Do: func() {
			if _, err := conn.Write(request.Bytes()); err != nil {
				b.Fatal(err)
			}
			if n, err := conn.Read(room); err != nil || !bytes.HasSuffix(room[:n], []byte("}")) {
				b.Fatal(n, err)
			}
		}})
}
