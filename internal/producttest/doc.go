// Package producttest runs every combination of configuration, request, outage, nesting
// and door through the real guard and compares what comes out with the oracle's word.
//
// It has tests only. docs/assurance.md says what they cover and how to run them longer.
package producttest
