// Package redisstore answers
package redisstore
