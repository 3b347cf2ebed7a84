// Package rpc holds the tests in which RPC clients of other languages call a guarded
// server: grpcio (Python), @grpc/grpc-js and @connectrpc/connect (Node).
package rpc
