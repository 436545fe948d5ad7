// Package checks has the tests that hold the documents, the template and the
// workflows to the code.
package checks
