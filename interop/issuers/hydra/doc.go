// Package hydra is empty: its module pins the Ory Hydra that the tests of the folder
// above run, and keeps Hydra's dependencies out of the go.mod of the tests.
package hydra
