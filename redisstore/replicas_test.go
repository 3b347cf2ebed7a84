package redisstore_test

const replicaConfig = "X"

func runReplica(string) {}
