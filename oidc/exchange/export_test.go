package exchange

// Remembered returns how many of everything x holds.
func Remembered(x *Exchange) (granted, refused, buckets int) {
	x.guesses.mu.Lock()
	defer x.guesses.mu.Unlock()
	return x.granted.Len(), x.refused.Len(), len(x.guesses.empty)
}
