//go:build programs

// Package programs names what the tests build from this module, so that go.mod and go.sum cover it.
package programs

import _ "go.etcd.io/etcd/server/v3"
