// Package redisstore answers "how do the replicas of a service share what they have to
// remember?": which proofs have been used, and what the issuer has said of a token. It
// keeps both on Redis or Valkey (a single server, sentinels, or a cluster).
//
//	client := redis.NewClient(&redis.Options{
//		Addr:                  "redis.internal:6379",
//		ContextTimeoutEnabled: true, // or a dead server holds every request for seconds
//	})
//	guard, err := middleware.New(
//		middleware.WithTokens(introspect.New(issuer, audience, auth,
//			introspect.WithStore(redisstore.NewTokenCache(client, key)))),
//		middleware.WithDPoP(dpop.New("https://api.example",
//			dpop.WithReplayCache(redisstore.NewReplayCache(client)))),
//	)
//
// It is a module of its own, so that programs without Redis do not depend on a Redis
// client.
//
// # Used proofs
//
// Every proof passes once, at one of the replicas. That costs one round trip to the
// store: a SET NX PX of 27 bytes that no client can choose, for as long as the proof
// could be accepted. Requests at the same time share round trips: while the server works
// on some, the next ones gather. A fresh proof is never answered from the process's own
// memory; [WithCacheSize] does so for replays.
//
// If the store does not answer within [WithTimeout], answers with an error, or is full,
// Add returns an error, and the Guard answers 503. The error names the server and why
// the last connection to it failed. A reply that gets lost is asked for again, and the
// first try is not taken for another client's. [dpop.DangerouslyFailOpen] is the one
// switch that lets requests pass without the store, and reports each; there is none
// here. While the store is down, requests with a proof wait for the timeout: lower
// MaxRetries and DialerRetries of the client to fail sooner.
//
// # Replicas of different settings
//
// Replicas should have the same lifetime, skew and use of nonces. While a change is
// being rolled out they differ, and a proof that one replica has forgotten by its own
// window must not pass at another. So each process writes every five seconds, while it
// is in use, for how long it remembers proofs (the hash dpop:windows), and remembers
// for the longest window that it finds there. A proof that another replica may have
// accepted and forgotten before it heard of the longer window is refused as too old;
// its client makes a new one. No step of the roll-out needs an order.
//
// That is for Verifiers of package dpop. It takes for granted that the clocks of
// replicas differ by no more than the skew. One case is left: where nonces are switched
// off, the proof of a client whose clock is ahead by more than the skew can pass once
// more, at a replica that goes by iat.
//
// # What the operator must set
//
// A proof that the store forgets can be used again until it is too old. So the store
// MUST NOT evict, and SHOULD NOT forget when it restarts. In redis.conf:
//
//	maxmemory 512mb
//	maxmemory-policy noeviction
//	appendonly yes
//	appendfsync always
//
// Eviction. With any policy but noeviction, a client that makes many proofs makes the
// store forget others. [ReplayCache.Check] finds that out.
//
// Memory. A live proof takes some 135 bytes, and up to 165 just after a table has grown
// (Redis 7.0, the default prefix); it lives for the lifetime and the skew of the
// verifier, 90 s by default, and up to 120 s if the client's clock is ahead. So 1,000
// requests per second need 20 MB, and 10,000 need 200 MB. It takes a valid proof for a
// valid token to fill the store, but one client's proofs count like those of all
// others: what bounds them is how many the replicas can verify, some 15,000 per second
// and core, or the rate limit in front. Choose maxmemory for that, and no client can
// lock the others out. When the store is full all the same, it refuses (503) until
// proofs expire.
//
// Restarts. Without persistence, a server that restarts has forgotten everything, and
// each proof of the last minutes passes once more. With appendfsync everysec or
// snapshots, those since the last write to the disk do. Only appendfsync always loses
// none.
//
// Failover. Replication is asynchronous: a primary that dies takes along what it has not
// passed on yet, mostly some milliseconds, and these proofs pass once more at its
// successor: once for each such failover, and no other proof does. During a partition the
// old primary may accept what the new one accepts too; min-replicas-to-write 1 with a
// short min-replicas-max-lag ends that a second after the lag: it then answers with an
// error, and the Guard with 503. WAIT would
// not change it, since nothing says that the replica that has answered becomes the
// successor; this package does not use it. Where such a window is not acceptable, use a
// single server with appendfsync always, and take the 503 while it restarts. Nonces
// ([dpop.WithNonces]) and a short lifetime make the window shorter for any store.
//
// Sharding by the client ([redis.Ring]) is refused: it moves proofs to a server that
// does not know them.
//
// Clocks. The life of a record is counted by the server from the command on, so that its
// clock may be wrong, but it must not jump forward by more than the skew.
//
// Permissions. What this package needs, and no more; +info is for Check, and the last
// one is for clusters:
//
//	user keybound on >... resetkeys ~dpop:* ~introspection:* -@all +set +get +hset +hgetall +hdel +pexpire +info +cluster|slots
//
// Services that share a store MAY share the prefix: a proof is good for one service
// only, and its id depends on the client's key. An attacker with write access to the
// store can make it forget proofs, so it should be reached over TLS and with a password.
//
// # Introspection answers
//
// A [TokenCache] encrypts what it stores with AES-256-GCM under keys that the store does
// not have, bound to the token that the answer is about, and to when it ends. An entry
// that was moved, changed or kept for too long is a miss. So is every error: the issuer
// is asked instead. How many entries one client may have there is the Introspector's to
// limit, which knows whose a token is.
//
// # Nonces
//
// Nonces need no store: give every replica the same key. [dpop.WithPreviousKeys] says
// how to change it in two steps.
//
// # What it does not check
//
// Whether a proof or a token is good: it is asked last, and believes what it is told.
// That the replicas use the same store and prefix: those that do not each accept a proof
// once.
package redisstore
