package main

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
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
	"slices"
	"time"
)

// roots is how many root certificates Amazon Linux 2023 has.
const roots = 143

// makeCertificates lays root certificates out as Amazon Linux 2023 does: one
// directory, to which both lead that Go reads, /etc/ssl/certs and
// /etc/pki/tls/certs. In it each certificate in a file of its own, with two links
// by hash, which Go leaves out, and the link to the bundle of all, which Go reads
// before the directories, and then with each.
// https://github.com/golang/go/issues/79018
//
// Go looks for the bundle and for the directories at fixed places, which only
// root can fill, or at those that SSL_CERT_FILE and SSL_CERT_DIR name: it then
// reads the same, so these stand for them. Of the certificates one is that of
// the stand-ins. Of every five, three have RSA keys of 4096 bits, all the same
// one, and two have P-384 keys, which is about what root programs hold.
func (b *bench) makeCertificates(standIn *x509.Certificate) error {
	certs, also, trusted := filepath.Join(b.dir, "pki-certs"), filepath.Join(b.dir, "ssl-certs"), filepath.Join(b.dir, "tls-ca-bundle.pem")
	if err := os.Mkdir(certs, 0o700); err != nil {
		return err
	}
	slow, err := rsa.GenerateKey(rand.Reader, 4096)
	if err != nil {
		return err
	}
	var bundle bytes.Buffer
	for i := range roots {
		der := standIn.Raw
		if i > 0 {
			var key crypto.Signer = slow
			if i%5 > 2 {
				if key, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader); err != nil {
					return err
				}
			}
			name := pkix.Name{Country: []string{"XX"}, Organization: []string{"Made up"}, CommonName: fmt.Sprintf("Root %d", i)}
			root := &x509.Certificate{
				SerialNumber: big.NewInt(int64(i)), Subject: name, IsCA: true, BasicConstraintsValid: true,
				NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
			}
			if der, err = x509.CreateCertificate(rand.Reader, root, root, key.Public(), key); err != nil {
				return err
			}
		}
		text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
		bundle.Write(text)
		file := fmt.Sprintf("Root_%d.pem", i)
		if err := os.WriteFile(filepath.Join(certs, file), text, 0o600); err != nil {
			return err
		}
		for n := range 2 {
			if err := os.Symlink(file, filepath.Join(certs, fmt.Sprintf("%08x.%d", i, n))); err != nil {
				return err
			}
		}
	}
	link := filepath.Join(certs, "ca-bundle.crt")
	if err := errors.Join(os.WriteFile(trusted, bundle.Bytes(), 0o600), os.Symlink(trusted, link), os.Symlink(certs, also)); err != nil {
		return err
	}
	b.trust = []string{"SSL_CERT_FILE=" + link}
	b.envTLS = slices.Concat(b.env, b.trust)
	b.certificates = also + ":" + certs
	return nil
}
