package introspect

// Remembered returns how many answers of each kind i holds.
func Remembered(i *Introspector) (active, refused int) { return i.active.Len(), i.refused.Len() }
