package main

import (
	"context"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/aws/aws-lambda-go/lambdacontext"

	"wechat-phone/shared/opendata"
	"wechat-phone/shared/panics"
	"wechat-phone/shared/wechat"
)

// margin is what is kept of an invocation's time to answer in.
const margin = 500 * time.Millisecond

// handler answers requests. It is safe for concurrent use.
type handler struct {
	secrets interface {
		Get(context.Context) (wechat.Credentials, error)
		Refresh(ctx context.Context, rejected wechat.Credentials) (wechat.Credentials, error)
	}
	tokens interface {
		Get(context.Context, wechat.Credentials) (wechat.AccessToken, error)
		Drop(rejected wechat.AccessToken)
	}
	wechat interface {
		Code2Session(ctx context.Context, app wechat.Credentials, code string) (wechat.Session, error)
		PhoneNumber(ctx context.Context, token wechat.AccessToken, code, openID string) (opendata.Phone, error)
		CheckEncryptedMsg(context.Context, wechat.AccessToken, opendata.Sealed) error
	}
	timeout time.Duration // of an exchange with WeChat
	maxAge  time.Duration // of a watermark; 0 for any
	verify  bool          // ask WeChat whether it sealed what was opened
	now     func() time.Time
	log     *slog.Logger

	warm atomic.Bool // the process has served a request
}

// trail is what a request leaves for its log line and its answer.
type trail struct {
	phoneShape bool // it has a phone code
	codeSent   bool // WeChat may have got the login code
	phoneSent  bool // and the phone code
	loggedIn   bool // WeChat has accepted the login code, which is spent so

	wechatTime time.Duration
	errcode    int    // WeChat's last
	rid        string // of that
}

// Invoke is what Lambda calls with each event: it implements lambda.Handler.
// With bytes for both, the runtime neither decodes nor encodes by reflection, and
// sends an answer of known length (as application/octet-stream, of which Lambda
// makes nothing). It never returns an error, whose text the runtime would log and
// answer with.
func (h *handler) Invoke(ctx context.Context, event []byte) ([]byte, error) {
	return encode(h.serve(ctx, event)), nil
}

// serve answers an event.
func (h *handler) serve(ctx context.Context, raw []byte) response {
	began := time.Now()
	first := !h.warm.Swap(true)
	requestID := ""
	if lc, ok := lambdacontext.FromContext(ctx); ok {
		requestID = lc.AwsRequestID
	}

	var t trail
	var answer response
	outcome := "ok"
	attrs := make([]slog.Attr, 0, 8)
	result, err := h.recovered(ctx, raw, &t)
	if err == nil {
		answer = respond(http.StatusOK, result)
	} else {
		f := failureOf(err)
		answer = f.answer(requestID, t)
		outcome = string(f.kind)
		if f.reason != "" {
			attrs = append(attrs, slog.String("reason", f.reason))
		}
	}
	total := time.Since(began)
	attrs = append(attrs,
		slog.String("outcome", outcome),
		slog.Int("status", answer.StatusCode),
		slog.Float64("wechatMs", milliseconds(t.wechatTime)),
		slog.Float64("ownMs", milliseconds(total-t.wechatTime)),
		slog.Float64("totalMs", milliseconds(total)),
		slog.Bool("first", first),
	)
	if t.errcode != 0 {
		attrs = append(attrs, slog.Int("errcode", t.errcode), slog.String("rid", t.rid))
	}
	h.log.LogAttrs(ctx, slog.LevelInfo, "request", attrs...)
	return answer
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// recovered is phone with panics turned into errors: else their text would be
// logged, and the process would end.
func (h *handler) recovered(ctx context.Context, raw []byte, t *trail) (_ success, err error) {
	defer panics.Recover(&err)
	e, err := readEvent(raw)
	if err != nil {
		return success{}, err
	}
	if deadline, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, deadline.Add(-margin))
		defer cancel()
	}
	return h.phone(ctx, e, t)
}

// success is the answer to a request that went well.
type success struct {
	Phone   opendata.Phone `json:",embed"`
	E164    string         `json:"e164"`
	OpenID  string         `json:"openid,omitempty"` // where there was a login code
	UnionID string         `json:"unionid,omitempty"`
}

// phone is the whole story of a request.
func (h *handler) phone(ctx context.Context, e event, t *trail) (success, error) {
	r, err := readRequest(e)
	if err != nil {
		return success{}, err
	}
	t.phoneShape = r.phoneCode != ""
	app, err := h.secrets.Get(ctx)
	if err != nil {
		return success{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, h.timeout)
	defer cancel()
	x := &exchange{handler: h, app: app, trail: t}
	if t.phoneShape || h.verify {
		if err := x.getToken(ctx); err != nil {
			return success{}, err
		}
	}
	var session wechat.Session
	if r.code != "" {
		if session, err = x.session(ctx, r.code); err != nil {
			return success{}, err
		}
	}
	var phone opendata.Phone
	if t.phoneShape {
		phone, err = x.phoneNumber(ctx, r.phoneCode, session.OpenID)
	} else {
		phone, err = x.open(ctx, r.sealed, session.Key)
	}
	if err != nil {
		return success{}, err
	}
	return success{phone, phone.E164(), session.OpenID, session.UnionID}, nil
}
