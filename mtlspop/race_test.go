//go:build race

package mtlspop_test

const raceEnabled = true
