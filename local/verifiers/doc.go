// Package verifiers shows that third-party libraries and a third-party gateway accept the
// function's tokens and refuse every forgery. It is a module of its own, so that the
// function's go.mod does not name them. Run it with make test-verifiers.
package verifiers
