// Package miniprogram holds the mini-program's component, for programs that run it
// outside WeChat.
package miniprogram

import (
	"bytes"
	"embed"
	"fmt"
	"io/fs"
	"path"
	"strings"
)

//go:embed components/phone-login/*.js
var component embed.FS

// Component returns the component's files as one JavaScript module. It exports an object
// with a function for each file. The function takes what WeChat gives the file: require,
// module and wx.
func Component() []byte {
	out := bytes.NewBufferString("export default {\n")
	files, _ := fs.Glob(component, "components/phone-login/*.js") // fails only if the pattern is malformed
	for _, file := range files {
		text, _ := component.ReadFile(file)
		name := strings.TrimSuffix(path.Base(file), ".js")
		fmt.Fprintf(out, "%q: (require, module, wx, Component) => {\n%s},\n", name, text)
	}
	out.WriteString("}\n")
	return out.Bytes()
}
