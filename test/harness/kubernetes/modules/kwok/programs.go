//go:build programs

// Package programs names what the tests build from this module, so that go.mod and go.sum cover it.
package programs

import _ "sigs.k8s.io/kwok/cmd/kwok"
