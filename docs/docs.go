// Package docs holds the documents that programs show.
package docs

import _ "embed"

// Operations is the runbook, in Markdown.
//
//go:embed operations.md
var Operations []byte
