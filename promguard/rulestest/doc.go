// Package rulestest answers: do the alerts and the dashboard of promguard say what they
// should, to the real query engine of Prometheus?
//
// It is a module of its own, for tests alone, so that users of promguard do not depend on
// Prometheus itself. It also draws the picture of the dashboard's panels for the
// documentation: go test -run Picture -draw .
package rulestest
