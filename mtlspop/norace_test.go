//go:build !race

package mtlspop_test

const raceEnabled = false
