//go:build !linux

// Package confine takes from the process what reading untrusted files does not need. It can do so on Linux only.
package confine

import "errors"

// Process fails: only Linux has what it takes.
func Process() error { return errors.New("confining the process: this is not Linux") }
