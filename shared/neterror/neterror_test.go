package neterror

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
)

func TestClassNamesTheCause(t *testing.T) {
	for want, errs := range map[string][]error{
		"timeout":            {context.DeadlineExceeded, context.Canceled, os.ErrDeadlineExceeded},
		"dns":                {&net.DNSError{Err: "no such host", Name: "canary.example"}},
		"connection refused": {&net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}},
		"connection reset":   {syscall.ECONNRESET, syscall.EPIPE},
		"connection closed":  {io.EOF, io.ErrUnexpectedEOF},
		"certificate":        {&tls.CertificateVerificationError{Err: errors.New("canary")}},
		"protocol":           {errors.New("canary"), tls.RecordHeaderError{}},
	} {
		for _, err := range errs {
			if got := Class(fmt.Errorf("https://canary/?secret=canary: %w", err)); got != want {
				t.Errorf("Class(%T) = %q, want %q", err, got, want)
			}
		}
	}
}
