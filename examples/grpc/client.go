package main

import (
	"crypto"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/keybound-go/middleware/dpop/dpopclient"
	"github.com/keybound-go/middleware/grpcguard"
)

// newClient makes a connection whose calls carry the access token of tokens and a proof
// of key. The token source asks the issuer for a token that is bound to the same key.
func newClient(target, origin string, key crypto.Signer, tokens dpopclient.TokenSource, creds credentials.TransportCredentials) (*grpc.ClientConn, error) {
	client, err := grpcguard.NewClient(dpopclient.New(key,
		dpopclient.WithOrigins(origin), dpopclient.WithTokenSource(tokens)))
	if err != nil {
		return nil, err
	}
	return grpc.NewClient(target, append(client.DialOptions(), grpc.WithTransportCredentials(creds))...)
}

// newPlainClient makes a connection whose calls carry no credentials.
func newPlainClient(target string, creds credentials.TransportCredentials) (*grpc.ClientConn, error) {
	return grpc.NewClient(target, grpc.WithTransportCredentials(creds))
}
