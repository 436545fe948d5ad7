package wechat

import (
	"context"
	"encoding/json/jsontext"
	"errors"
	"net/url"
	"strconv"
	"strings"
	"time"

	"wechat-phone/shared/opendata"
)

// PhoneNumber exchanges a phone code for the user's phone number. The
// getPhoneNumber button gives the code, which works once. If openID is not empty,
// WeChat checks that the code is that user's. PhoneNumber also returns the time in
// the answer's watermark, or the zero time if it has no usable one. Every error is an
// [*Error].
//
// https://developers.weixin.qq.com/miniprogram/dev/OpenApiDoc/user-info/phone-number/getPhoneNumber.html
func (c *Client) PhoneNumber(
	ctx context.Context, token AccessToken, code, openID string,
) (phone opendata.Phone, at time.Time, err error) {
	answer, err := call[phoneAnswer](ctx, c, request{
		api: PhoneAPI, target: "/wxa/business/getuserphonenumber?access_token=" + url.QueryEscape(token.Reveal()),
		body: struct {
			Code   string `json:"code"`
			OpenID string `json:"openid,omitempty"`
		}{code, openID},
		appID: token.AppID,
	})
	if err != nil {
		return opendata.Phone{}, time.Time{}, err
	}
	phone, err = answer.phone(token.AppID)
	return phone, answer.at(), err
}

type phoneAnswer struct {
	Info struct {
		Phone     opendata.Phone `json:",embed"`
		Watermark struct {
			AppID     string         `json:"appid"`
			Timestamp jsontext.Value `json:"timestamp"` // any type is accepted, because the tap has been paid for
		} `json:"watermark"`
	} `json:"phone_info"`
}

func (a phoneAnswer) fits(r request) bool {
	_, err := a.phone(r.appID)
	return err == nil
}

// phone checks that the answer is this request's: a number, and a watermark of
// this mini-program. It returns the number as WeChat sent it even if its fields
// disagree, because the tap has been paid for.
func (a phoneAnswer) phone(appID string) (opendata.Phone, error) {
	switch {
	case a.Info.Watermark.AppID == "":
		return opendata.Phone{}, malformedPhone(opendata.WatermarkMissing)
	case a.Info.Watermark.AppID != appID:
		return opendata.Phone{}, malformedPhone(opendata.WatermarkForeign)
	case strings.TrimSpace(a.Info.Phone.PhoneNumber+a.Info.Phone.PurePhoneNumber) == "":
		return opendata.Phone{}, malformedPhone(opendata.PhoneMissing)
	}
	return a.Info.Phone, nil
}

// at returns the time in the watermark, or the zero time if it has no usable one.
func (a phoneAnswer) at() time.Time {
	seconds, err := strconv.ParseInt(string(a.Info.Watermark.Timestamp), 10, 64)
	if err != nil || seconds <= 0 {
		return time.Time{}
	}
	return time.Unix(seconds, 0)
}

func malformedPhone(reason opendata.Reason) error {
	return &Error{API: PhoneAPI, Kind: Malformed, Reason: string(reason)}
}

// CheckEncryptedMsg asks WeChat whether it sealed the data, for this mini-program
// and within the last three days. If it did not, [Disowns] reports true of the
// error. Every error is an [*Error].
//
// https://developers.weixin.qq.com/miniprogram/dev/OpenApiDoc/user-info/basic-info/checkEncryptedData.html
func (c *Client) CheckEncryptedMsg(ctx context.Context, token AccessToken, data opendata.Sealed) error {
	answer, err := call[checkAnswer](ctx, c, request{
		api: SealedDataAPI, target: "/wxa/business/checkencryptedmsg?access_token=" + url.QueryEscape(token.Reveal()),
		body: struct {
			Hash string `json:"encrypted_msg_hash"`
		}{data.Hash()},
	})
	if refusal, ok := errors.AsType[*Error](err); ok && refusal.ErrCode == unknownData {
		refusal.Kind, refusal.Reason = Disowned, "the data"
	}
	if err != nil {
		return err
	}
	return answer.verdict()
}

type checkAnswer struct {
	Valid *bool `json:"vaild"` // as WeChat spells it
}

func (a checkAnswer) fits(request) bool { return a.verdict() == nil }

func (a checkAnswer) verdict() error {
	switch {
	case a.Valid == nil:
		return &Error{API: SealedDataAPI, Kind: Malformed, Reason: "no verdict"}
	case !*a.Valid:
		return &Error{API: SealedDataAPI, Kind: Disowned, Reason: "the data"}
	}
	return nil
}
