module github.com/keybound-go/middleware/cmd/keybound

go 1.26.0

replace github.com/keybound-go/middleware => ../..

require github.com/stretchr/testify v1.12.1

require go.yaml.in/yaml/v3 v3.0.5 // indirect
