//go:build race

package introspect_test

const raceDetector = true
