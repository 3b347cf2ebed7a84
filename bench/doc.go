// Package bench answers "what does a request cost here, and what would it cost
// through something else?" Each [Contender] decides about the same requests:
// this module's Guard, and what a developer would write around other libraries, as their
// documentation shows them.
//
//	go test -bench . ./...              # every benchmark
//	go test -run Table -update .        # measures, and writes README.md
//	go run ./http                       # end to end, over loopback TLS
//
// Ratios are to one raw verification of a P-256 signature, measured by turns
// with the subject, so that they hold on a busy machine too.
//
// What it does not compare is what the contenders check: the tests here make sure
// that each accepts the good requests and refuses the plainest attacks, and
// nothing more. The suites of the module's other packages go far beyond.
package bench
