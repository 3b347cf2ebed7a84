//go:build !race

package oidc_test

const raceDetector = false
