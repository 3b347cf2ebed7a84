//go:build race

package dpopclient_test

const raceEnabled = true
