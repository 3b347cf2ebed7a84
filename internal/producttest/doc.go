// Package producttest runs the product: combinations of everything that a guard, a
// request and the world around it can be, each through a door of the guard, and held
// against the word of package oracle. docs/assurance.md tells what it shows.
//
// A door in a module of its own has a test there that makes a [Product] of [Door] values.
// The tests of this package are of the doors of the root: Wrap, Check, Judge and
// forward-auth; and of invariants over random histories.
package producttest
