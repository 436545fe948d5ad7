// Package soak has the tests that take minutes, and a benchmark that measures the
// padding oracle. It needs Linux and the build tag soak. Run it with make soak.
package soak
