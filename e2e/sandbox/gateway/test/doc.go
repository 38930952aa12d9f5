// Package test holds the end-to-end tests of the sandbox's gateway: real pods
// behind it, its routes in a real API server, and the load generator as judge.
// They need the built sandbox and the build tag e2e.
package test
