// Package test holds the tests of the sandbox itself: they bring sandboxes up
// with the built binaries (`make all` in the directory above) and look at them
// from outside, as users do.
//
//	go test -tags e2e ./test
package test
