module github.com/keybound-go/middleware/bench

go 1.26.0

replace github.com/keybound-go/middleware => ../
