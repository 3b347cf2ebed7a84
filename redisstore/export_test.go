package redisstore

import "time"

// SetPollInterval makes the processes of a test hear of each other sooner.
func (c *ReplayCache) SetPollInterval(d time.Duration) { c.windows.poll = d }
