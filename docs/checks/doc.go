// Package checks has the tests that compare the documents, the template and the
// workflows with the code.
package checks
