// Package soak has the tests that take minutes and a measurement of the padding
// oracle. They need Linux and the build tag soak: run make soak.
package soak
