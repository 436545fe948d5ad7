// Package backend holds the backend's function, for programs that run it.
package backend

import _ "embed"

// Function is the JavaScript module of the function.
//
//go:embed function/index.mjs
var Function []byte
