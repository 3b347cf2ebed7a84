package oidc

// Remembered returns how many answers of each kind i holds.
func Remembered(i *Introspector) (active, refused int) { return i.active.size(), i.refused.size() }
