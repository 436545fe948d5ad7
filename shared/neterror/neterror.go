// Package neterror names the class of a network failure, for logs. The standard
// library's errors hold addresses and URLs, with any secrets in them. A class holds
// neither.
package neterror

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"syscall"
)

// Class returns the class of err: "certificate", "timeout", "dns", "connection
// refused", "connection reset", "connection closed", or "protocol" for any other.
func Class(err error) string {
	_, dns := errors.AsType[*net.DNSError](err)
	_, certificate := errors.AsType[*tls.CertificateVerificationError](err)
	timeout, isNet := errors.AsType[net.Error](err)
	switch {
	case certificate:
		return "certificate"
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded), isNet && timeout.Timeout():
		return "timeout"
	case dns:
		return "dns"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "connection reset"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "connection closed"
	}
	return "protocol"
}
