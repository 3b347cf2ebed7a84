package kongfile

import (
	"encoding/json"
	"slices"
	"strconv"

	"go.yaml.in/yaml/v3"
)

// Key is one key of Kong's.
type Key struct {
	Name    string
	Type    string // string, strings, number, boolean, record, records
	Default string // Kong's, as JSON; "" for null
	Values  string // those that work here; "" if null and the default alone do
	Go      string // what it becomes, in Markdown
	Why     string // the reason for which other values are refused, and what to do instead
	Members []Key  // of a record

	// Written is set where a value that is Kong's default is read like every other.
	// Elsewhere it is as if the key were absent: to Kong, the two are the same.
	Written bool
}

func byName(keys []Key) map[string]*Key {
	m := make(map[string]*Key, len(keys))
	for i := range keys {
		m[keys[i].Name] = &keys[i]
	}
	return m
}

// isDefault reports whether a value is Kong's default, which is not read.
func (m *mapping) isDefault(key string, n *yaml.Node) bool {
	k := m.known[key]
	return k != nil && !k.Written && m.document.isDefaultOf(n, k)
}

// isIdle reports whether a key that has not been read changes nothing: Kong has it,
// and its value is null, empty, or Kong's default.
func (m *mapping) isIdle(key string) bool {
	k := m.known[key]
	return k != nil && m.document.isIdle(m.values[key], k)
}

func (d *document) isIdle(n *yaml.Node, k *Key) bool {
	switch n.Kind {
	case yaml.ScalarNode:
		return isNull(n) || d.isDefaultOf(n, k)
	case yaml.SequenceNode:
		return len(n.Content) == 0 || d.isDefaultOf(n, k)
	case yaml.MappingNode:
		members := byName(k.Members)
		for i := 0; i+1 < len(n.Content); i += 2 {
			if member := members[n.Content[i].Value]; member == nil || !d.isIdle(n.Content[i+1], member) {
				return false
			}
		}
		return true
	}
	return false
}

// isDefaultOf compares a value with Kong's default. The lists are sets: Kong writes
// them in an order of its own.
func (d *document) isDefaultOf(n *yaml.Node, k *Key) bool {
	var want any
	if k.Default == "" || json.Unmarshal([]byte(k.Default), &want) != nil {
		return false
	}
	list, ok := want.([]any)
	if !ok {
		return d.isScalar(n, want)
	}
	items := n.Content
	if n.Kind == yaml.ScalarNode {
		items = []*yaml.Node{n}
	}
	if len(items) != len(list) {
		return false
	}
	for _, wanted := range list {
		if !slices.ContainsFunc(items, func(item *yaml.Node) bool { return d.isScalar(item, wanted) }) {
			return false
		}
	}
	return true
}

func (d *document) isScalar(n *yaml.Node, want any) bool {
	if n.Kind != yaml.ScalarNode {
		return false
	}
	text, expanded, err := d.env.expand(n.Value)
	if err != nil {
		return false
	}
	switch want := want.(type) {
	case string:
		return text == want && (expanded || n.Tag == "!!str")
	case bool:
		if b, ok := oldBoolean(n); ok {
			return b == want
		}
		b, err := strconv.ParseBool(text)
		return err == nil && b == want && (expanded || n.Tag == "!!bool")
	case float64:
		f, err := strconv.ParseFloat(text, 64)
		return err == nil && f == want && (expanded || n.Tag == "!!int" || n.Tag == "!!float")
	}
	return false
}
