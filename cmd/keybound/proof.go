package main

import (
	"errors"
	"fmt"
	"net/url"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// tokenFlags say where a token comes from that was obtained elsewhere.
type tokenFlags struct {
	token, file string
}

const tokenVariable = "KEYBOUND_TOKEN"

func (f *tokenFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.token, "token", "", "access token; other users of this machine can see it in the process list, so prefer --token-file")
	flags.StringVar(&f.file, "token-file", "", "file with the access token, - for the standard input (default: the environment variable "+tokenVariable+")")
}

// get returns the token, "" if there is none.
func (f *tokenFlags) get(s *streams) (string, error) {
	switch {
	case f.token != "" && f.file != "":
		return "", errors.New("--token and --token-file exclude each other")
	case f.token != "":
		s.secrets.Add(f.token)
		return f.token, nil
	case f.file != "":
		return readSecret(f.file, s)
	default:
		token := os.Getenv(tokenVariable)
		s.secrets.Add(token)
		return token, nil
	}
}

func newProof(s *streams) *cobra.Command {
	var key keyFlags
	var token tokenFlags
	var method, nonce string
	c := &cobra.Command{
		Use:   "proof URL",
		Short: "Print one DPoP proof, for use with curl",
		Long: `Prints one DPoP proof (RFC 9449, section 4.2) for one request: for its method, its
URL without query and fragment, and the access token. A proof is good once, and for
about a minute. Without a token it is a proof for a token endpoint.

The key can be the JWK set that oauth2c --signing-key takes: the token that oauth2c
gets with --dpop is bound to its first key for signatures, and so is the proof.`,
		Example: `  curl -H "Authorization: DPoP $(cat token)" \
       -H "DPoP: $(keybound proof --key client.jwk --token-file token https://api.example/orders)" \
       https://api.example/orders`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			k, err := key.load()
			if err != nil {
				return err
			}
			if k == nil {
				return errors.New("--key is missing: the key that the token is bound to")
			}
			htu, err := htuOf(args[0])
			if err != nil {
				return err
			}
			t, err := token.get(s)
			if err != nil {
				return err
			}
			// The proof is what was asked for: it goes past the filter of secrets.
			_, err = fmt.Fprintln(s.stdout, k.Proof(method, htu, t, nonce))
			return err
		},
	}
	key.add(c.Flags())
	token.add(c.Flags())
	c.Flags().StringVarP(&method, "request", "X", "GET", "method of the request")
	c.Flags().StringVar(&nonce, "nonce", "", "nonce that the server gave in DPoP-Nonce")
	return c
}

// htuOf is the htu of a proof for a request to raw: without query and fragment.
func htuOf(raw string) (string, error) {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return "", errors.New("the argument is not an http or https URL")
	}
	path := u.EscapedPath()
	if path == "" {
		path = "/"
	}
	return u.Scheme + "://" + u.Host + path, nil
}
