package secretstest

import (
	"encoding/json/v2"
	"net/http"
	"slices"
	"sync/atomic"
	"time"
)

// Long is an [http.Handler] that answers each GetSecretValue with Text, in pieces and
// without reading the request. If the client's request fails then, the answer is cut off.
type Long struct {
	Text     string
	Requests atomic.Int32 // so far
}

func (l *Long) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	l.Requests.Add(1)
	answer, _ := json.Marshal(map[string]string{"VersionId": "v", "SecretString": l.Text})
	for piece := range slices.Chunk(answer, 3000) {
		_, _ = w.Write(piece)
		_ = http.NewResponseController(w).Flush()
		time.Sleep(time.Millisecond)
	}
}
