package main

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"time"
)

// writeCertificates writes 143 root certificates in the layout of Amazon Linux 2023.
// Go reads /etc/ssl/certs and /etc/pki/tls/certs. On Amazon Linux, both are the same
// directory. For each certificate it has a file and two links by hash; Go skips the
// links. It also has a link to the bundle. Go reads the bundle first, and again in
// each directory: https://github.com/golang/go/issues/79018
//
// Only root may write to those paths, so SSL_CERT_FILE and SSL_CERT_DIR must name the
// written files instead. One of the certificates is that of the stand-ins.
func writeCertificates(dir string, standIn *x509.Certificate) (bundle, directories string, _ error) {
	roots, err := makeRoots(142)
	roots = append(roots, standIn.Raw)
	target, certs, again := filepath.Join(dir, "bundle.pem"), filepath.Join(dir, "pki"), filepath.Join(dir, "ssl")
	bundle = filepath.Join(certs, "ca-bundle.crt")
	err = errors.Join(err, os.Mkdir(certs, 0o700), os.Symlink(certs, again), os.Symlink(target, bundle))
	var all bytes.Buffer
	for i, root := range roots {
		text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root})
		all.Write(text)
		file := fmt.Sprintf("Root_%d.pem", i)
		err = errors.Join(err, os.WriteFile(filepath.Join(certs, file), text, 0o600),
			os.Symlink(file, filepath.Join(certs, fmt.Sprintf("%08x.0", i))),
			os.Symlink(file, filepath.Join(certs, fmt.Sprintf("%08x.1", i))))
	}
	return bundle, again + ":" + certs, errors.Join(err, os.WriteFile(target, all.Bytes(), 0o600))
}

// makeRoots makes n root certificates. They share a key of 4096 bits, the size of
// most real root keys.
func makeRoots(n int) (roots [][]byte, _ error) {
	key, err := rsa.GenerateKey(rand.Reader, 4096)
	if err != nil {
		return nil, err
	}
	for i := range n {
		root := &x509.Certificate{
			SerialNumber: big.NewInt(int64(i + 1)), IsCA: true, BasicConstraintsValid: true,
			Subject:   pkix.Name{Country: []string{"XX"}, CommonName: fmt.Sprintf("Made-up root %d", i)},
			NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		}
		der, err := x509.CreateCertificate(rand.Reader, root, root, key.Public(), key)
		if err != nil {
			return nil, err
		}
		roots = append(roots, der)
	}
	return roots, nil
}
