package main

import (
	"crypto/rand"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/keybound-go/middleware/grpcguard/grpcguardtest"
	"github.com/keybound-go/middleware/oidc"
)

func TestTheExample(t *testing.T) {
	var out strings.Builder
	require.NoError(t, run(t.Context(), &out))
	require.Regexp(t, `^Place: tea for \S+
Watch: tea
Delete, without its scope: the token lacks a required scope
Place, without a token: Unauthenticated
Health, without a token: SERVING
$`, out.String())
}

func TestEveryMethodIsGuarded(t *testing.T) {
	tokens, err := oidc.New("https://issuer.example", "https://api.example")
	server, err := newServer(tokens, err, "https://api.example", []byte(rand.Text()+rand.Text()), insecure.NewCredentials())
	require.NoError(t, err)
	grpcguardtest.AllGuarded(t, server, healthpb.Health_Check_FullMethodName, healthpb.Health_Watch_FullMethodName)
}
