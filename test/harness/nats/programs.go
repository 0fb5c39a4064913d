//go:build programs

// Package programs names what the tests build from this module, so that go.mod and go.sum cover it.
package programs

import _ "github.com/nats-io/nats-server/v2"
