package lambdatest

import (
	"context"
	"encoding/base64"
	"encoding/json/jsontext"
	"encoding/json/v2"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Gateway is an HTTP API with a Lambda integration and payload format 2.0.
//
// https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html
type Gateway struct {
	Invoke func(ctx context.Context, event []byte) ([]byte, error)

	// Routes are the API's routes, as in "POST /phone". The gateway itself answers
	// all other requests, with 404. If there are none, the route is "$default",
	// which passes every request on, as a function URL does.
	Routes []string
}

const (
	gatewayTimeout = 30 * time.Second
	maxRequest     = 10 << 20
)

// Event is an event of payload format 2.0.
type Event struct {
	Version               string            `json:"version"`
	RouteKey              string            `json:"routeKey"`
	RawPath               string            `json:"rawPath"`
	RawQueryString        string            `json:"rawQueryString"`
	Cookies               []string          `json:"cookies,omitempty"`
	Headers               map[string]string `json:"headers"`
	QueryStringParameters map[string]string `json:"queryStringParameters,omitempty"`
	RequestContext        RequestContext    `json:"requestContext"`
	Body                  string            `json:"body,omitempty"`
	IsBase64Encoded       bool              `json:"isBase64Encoded"`
}

// RequestContext is the request context of an [Event].
type RequestContext struct {
	AccountID    string      `json:"accountId"`
	APIID        string      `json:"apiId"`
	DomainName   string      `json:"domainName"`
	DomainPrefix string      `json:"domainPrefix"`
	HTTP         HTTPContext `json:"http"`
	RequestID    string      `json:"requestId"`
	RouteKey     string      `json:"routeKey"`
	Stage        string      `json:"stage"`
	Time         string      `json:"time"`
	TimeEpoch    int64       `json:"timeEpoch"`
}

// HTTPContext is the HTTP part of a [RequestContext].
type HTTPContext struct {
	Method    string `json:"method"`
	Path      string `json:"path"`
	Protocol  string `json:"protocol"`
	SourceIP  string `json:"sourceIp"`
	UserAgent string `json:"userAgent"`
}

// answer is a function's answer to an [Event].
type answer struct {
	StatusCode      int               `json:"statusCode"`
	Headers         map[string]string `json:"headers"`
	Cookies         []string          `json:"cookies"`
	Body            string            `json:"body"`
	IsBase64Encoded bool              `json:"isBase64Encoded"`
}

func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	route := r.Method + " " + r.URL.Path
	if len(g.Routes) > 0 && !slices.Contains(g.Routes, route) {
		replyError(w, http.StatusNotFound)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxRequest))
	if err != nil {
		replyError(w, http.StatusRequestEntityTooLarge)
		return
	}
	e := NewEvent(r, body)
	if len(g.Routes) > 0 {
		e.RouteKey, e.RequestContext.RouteKey = route, route
	}
	event, err := json.Marshal(e, jsontext.AllowInvalidUTF8(true))
	if err != nil {
		replyError(w, http.StatusBadRequest)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), gatewayTimeout)
	defer cancel()
	answer, err := g.Invoke(ctx, event)
	switch {
	case ctx.Err() != nil:
		replyError(w, http.StatusServiceUnavailable)
	case err != nil:
		replyError(w, http.StatusInternalServerError)
	default:
		forward(w, answer)
	}
}

// NewEvent returns the event of a request to the route "$default".
func NewEvent(r *http.Request, body []byte) Event {
	source, _, _ := net.SplitHostPort(r.RemoteAddr)
	now := time.Now()
	e := Event{
		Version: "2.0", RouteKey: "$default", RawPath: r.URL.EscapedPath(), RawQueryString: r.URL.RawQuery,
		Headers: map[string]string{"host": r.Host},
		RequestContext: RequestContext{
			AccountID: "123456789012", APIID: "local", DomainName: r.Host, DomainPrefix: "local",
			HTTP:      HTTPContext{r.Method, r.URL.Path, r.Proto, source, r.UserAgent()},
			RequestID: newID(), RouteKey: "$default", Stage: "$default",
			Time: now.UTC().Format("02/Jan/2006:15:04:05 -0700"), TimeEpoch: now.UnixMilli(),
		},
	}
	for name, values := range r.Header {
		if name == "Cookie" {
			e.Cookies = strings.Split(strings.Join(values, "; "), "; ")
			continue
		}
		e.Headers[strings.ToLower(name)] = strings.Join(values, ",")
	}
	for name, values := range r.URL.Query() {
		if e.QueryStringParameters == nil {
			e.QueryStringParameters = map[string]string{}
		}
		e.QueryStringParameters[name] = strings.Join(values, ",")
	}
	if isText(r.Header.Get("Content-Type")) && utf8.Valid(body) {
		e.Body = string(body)
	} else if len(body) > 0 {
		e.Body, e.IsBase64Encoded = base64.StdEncoding.EncodeToString(body), true
	}
	return e
}

// isText reports whether the gateway passes a body of this type on as text. It
// encodes all other bodies in base64, including forms and bodies without a type.
func isText(contentType string) bool {
	mediaType, _, _ := strings.Cut(strings.ToLower(contentType), ";")
	switch mediaType = strings.TrimSpace(mediaType); mediaType {
	case "application/json", "application/xml", "application/javascript":
		return true
	}
	return strings.HasPrefix(mediaType, "text/")
}

// forward turns the function's answer into an HTTP response. If the answer has no
// statusCode, all of it is the body, and the status is 200.
func forward(w http.ResponseWriter, text []byte) {
	var shape struct {
		StatusCode jsontext.Value `json:"statusCode"`
	}
	if json.Unmarshal(text, &shape) != nil || shape.StatusCode == nil {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(text)
		return
	}
	var a answer
	err := json.Unmarshal(text, &a)
	body := []byte(a.Body)
	if err == nil && a.IsBase64Encoded {
		body, err = base64.StdEncoding.DecodeString(a.Body)
	}
	if err != nil || a.StatusCode < 100 || a.StatusCode > 999 {
		replyError(w, http.StatusInternalServerError)
		return
	}
	for name, value := range a.Headers {
		w.Header().Set(name, value)
	}
	for _, cookie := range a.Cookies {
		w.Header().Add("Set-Cookie", cookie)
	}
	w.Header().Set("Apigw-Requestid", newID())
	w.WriteHeader(a.StatusCode)
	_, _ = w.Write(body)
}

// replyError sends the gateway's own answer for a status.
func replyError(w http.ResponseWriter, status int) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.MarshalWrite(w, map[string]string{"message": http.StatusText(status)})
}
