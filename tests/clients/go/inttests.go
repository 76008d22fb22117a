//go:build tools

package main

// gopowerstore's own tests are built from here: what they need is in go.mod and go.sum as well.
import _ "github.com/dell/gopowerstore/inttests"
