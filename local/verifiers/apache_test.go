package verifiers

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"wechat-phone/local/forgery"
	"wechat-phone/local/stage"
)

// gatewayConfig makes Apache a gateway that passes on requests with a good token. Apache
// checks iss and aud only because Require says so.
const gatewayConfig = `
ServerRoot %[1]s
ServerName localhost
Listen %[2]s
PidFile httpd.pid
ErrorLog error.log
User www-data
Group www-data
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authn_core_module /usr/lib/apache2/modules/mod_authn_core.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
LoadModule proxy_module /usr/lib/apache2/modules/mod_proxy.so
LoadModule proxy_http_module /usr/lib/apache2/modules/mod_proxy_http.so
LoadModule auth_openidc_module /usr/lib/apache2/modules/mod_auth_openidc.so
MaxKeepAliveRequests 0
OIDCOAuthServerMetadataURL %[3]s/.well-known/openid-configuration
OIDCCABundlePath %[4]s
OIDCOAuthRemoteUserClaim sub
ProxyPass / %[5]s/
<Location />
	AuthType oauth20
	<RequireAll>
		Require claim iss:%[3]s
		Require claim aud:%[6]s
	</RequireAll>
</Location>
`

// consumer answers with what the gateway says about the user.
var consumer = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	_, _ = io.WriteString(w, r.Header.Get("OIDC_CLAIM_sub")+" "+r.Header.Get("OIDC_CLAIM_phone_number"))
})

// startApache starts Apache in front of a consumer and returns its URL.
func (i *issuer) startApache(t *testing.T) string {
	t.Helper()
	behind := httptest.NewServer(consumer)
	t.Cleanup(behind.Close)
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	_ = free.Close()
	root := publicDir(t)
	config := fmt.Sprintf(gatewayConfig, root, address, i.TLS.URL, i.authority(t), behind.URL, stage.AppID)
	file := filepath.Join(root, "httpd.conf")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	apache := exec.Command("/usr/sbin/apache2", "-f", file, "-D", "FOREGROUND")
	apache.Stdout, apache.Stderr = os.Stdout, os.Stderr
	if err := apache.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = apache.Process.Signal(os.Interrupt)
		_ = apache.Wait()
	})
	for range 100 {
		if c, err := net.Dial("tcp", address); err == nil {
			_ = c.Close()
			return "http://" + address
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatal("got no Apache in 5 s, want one")
	return ""
}

// Debian chooses Apache's version, and a newer one may be stricter.
func TestApache(t *testing.T) {
	i := newIssuer(t)
	url := i.startApache(t)
	user := forgery.Payload(i.good)
	accepted := i.accepted(t, func(token string) error {
		if strings.ContainsAny(token, "\n ") {
			return errors.New("a header cannot hold it")
		}
		request, err := http.NewRequest(http.MethodGet, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Authorization", "Bearer "+token)
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = response.Body.Close() }()
		body, err := io.ReadAll(response.Body)
		switch want := fmt.Sprint(user["sub"], " ", user["phone_number"]); {
		case err != nil:
			t.Fatal(err)
		case response.StatusCode != http.StatusOK:
			return errors.New(response.Status)
		case string(body) != want:
			t.Errorf("got another user at the consumer, want the token's")
		}
		return nil
	})
	known := []string{forgery.UnusedBits, forgery.Padded, forgery.NoExpiry, forgery.FutureIssue}
	for _, name := range accepted {
		if !slices.Contains(known, name) {
			t.Errorf("%s: got it accepted, want it refused", name)
		}
	}
}
