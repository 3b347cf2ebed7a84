package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/keybound-go/middleware/cmd/keybound/internal/pen"
)

// keyFlags say which key signs proofs.
type keyFlags struct {
	file string
	make string
}

func (f *keyFlags) add(flags *pflag.FlagSet) {
	flags.StringVarP(&f.file, "key", "k", "", "private key that signs proofs: a file with a JWK or PEM")
	flags.StringVar(&f.make, "make-key", "", "make the file of --key with a new key for this algorithm, if there is none: "+strings.Join(pen.Algorithms, ", "))
}

// load returns the key, nil if the flags name none.
func (f *keyFlags) load() (*pen.Key, error) {
	if f.file == "" {
		if f.make != "" {
			return nil, errors.New("--make-key needs --key, the file to keep the key in")
		}
		return nil, nil
	}
	data, err := os.ReadFile(f.file)
	if errors.Is(err, os.ErrNotExist) && f.make != "" {
		return makeKey(f.file, f.make)
	}
	if err != nil {
		return nil, fmt.Errorf("--key: %w", err)
	}
	key, err := pen.Parse(data)
	if err != nil {
		return nil, fmt.Errorf("--key %s: %w", f.file, err)
	}
	return key, nil
}

// makeKey writes a new key, as PEM if the file is called so and as a JWK otherwise,
// for its owner alone to read.
func makeKey(file, alg string) (*pen.Key, error) {
	key, err := pen.Generate(alg)
	if err != nil {
		return nil, err
	}
	text, err := key.PrivateJWK()
	if filepath.Ext(file) == ".pem" {
		text, err = key.PrivatePEM()
	}
	if err != nil {
		return nil, err
	}
	return key, writeSecret(file, append(text, '\n'))
}

// writeSecret makes a file that only its owner can read. An existing file is
// replaced as a whole, so that a crash leaves the old or the new one.
func writeSecret(name string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(name), ".keybound-*") // mode 0600
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}

// readSecret reads a value from a file, or from the standard input for "-", without
// the white space around it.
func readSecret(name string, s *streams) (string, error) {
	var data []byte
	var err error
	if name == "-" {
		data, err = io.ReadAll(io.LimitReader(s.in, 1<<20))
	} else {
		data, err = os.ReadFile(name)
	}
	if path := (*os.PathError)(nil); errors.As(err, &path) && !strings.ContainsAny(name, `/\.`) || errors.As(err, &path) && len(name) > 100 {
		s.secrets.Add(name) // the value itself, where the name of its file is due
		return "", fmt.Errorf("there is no file of that name (the flag takes a file and not the value): %w", path.Err)
	}
	if err != nil {
		return "", err
	}
	value := strings.TrimSpace(string(data))
	if value == "" {
		return "", fmt.Errorf("%s is empty", name)
	}
	s.secrets.Add(value)
	return value, nil
}

// tlsFlags say which CAs to trust and which certificate to show.
type tlsFlags struct {
	ca       string
	insecure bool
	cert     string
	certKey  string
	connect  string
}

func (f *tlsFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.ca, "cacert", "", "file with the CAs to trust instead of the system's, PEM")
	flags.BoolVar(&f.insecure, "insecure", false, "accept any server certificate: an attacker in between then gets your token")
	flags.StringVar(&f.cert, "cert", "", "client certificate chain, PEM")
	flags.StringVar(&f.certKey, "cert-key", "", "private key of --cert, PEM (default: in the file of --cert)")
	flags.StringVar(&f.connect, "connect", "", "connect to this host:port instead of the URL's")
}

// config returns the client's TLS configuration, and its certificate, nil for none.
func (f *tlsFlags) config() (*tls.Config, *tls.Certificate, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: f.insecure}
	if f.ca != "" {
		pem, err := os.ReadFile(f.ca)
		if err != nil {
			return nil, nil, fmt.Errorf("--cacert: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, nil, fmt.Errorf("--cacert: %s holds no certificate", f.ca)
		}
	}
	if f.cert == "" {
		if f.certKey != "" {
			return nil, nil, errors.New("--cert-key needs --cert")
		}
		return config, nil, nil
	}
	keyFile := f.certKey
	if keyFile == "" {
		keyFile = f.cert
	}
	cert, err := tls.LoadX509KeyPair(f.cert, keyFile)
	if err != nil {
		return nil, nil, fmt.Errorf("--cert: %w", err)
	}
	return config, &cert, nil
}

func newKey(s *streams) *cobra.Command {
	f := &keyFlags{}
	c := &cobra.Command{
		Use:   "key",
		Short: "Show a key's public JWK and thumbprint, or make a key",
		Long: `Prints the public JWK of a key file, for registering it, and its RFC 7638 thumbprint,
which a token that is bound to the key has as cnf.jkt. With --make-key the file is
made if it is missing: as PEM if its name ends in .pem, as a JWK otherwise, for its
owner alone to read.`,
		Example: `  keybound key --key client.jwk --make-key ES256`,
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			key, err := f.load()
			if err != nil {
				return err
			}
			if key == nil {
				return errors.New("--key is missing")
			}
			jwk := key.JWK()
			jwk["alg"] = key.Algorithm
			text, err := json.Marshal(jwk)
			if err != nil {
				return err
			}
			s.out.Printf("jwk  %s\njkt  %s\n", text, key.Thumbprint())
			return nil
		},
	}
	f.add(c.Flags())
	return c
}
