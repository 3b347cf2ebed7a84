// Command peers answers "what would another library cost, in another language too?" It
// runs the servers of bench/servers by turns, sends each the same requests and the same
// attacks over HTTP/1.1 on loopback, and writes tables.
//
//	bash servers/build              # once
//	go run ./peers                  # prints the tables
//	go run ./peers -update          # writes them to README.md
//	go run ./peers -only keybound,spring -rounds 1 -warm 1000
//
// One server runs at a time, on core 0; this program and its issuer are on core 1
// (taskset). Each round starts every server anew and warms it up; every second round goes
// through them backwards. Of each number, the median of the rounds counts. The processor
// time of a server is that of its process and all its children (/proc/PID/stat), threads
// of compilers and collectors included.
package main
