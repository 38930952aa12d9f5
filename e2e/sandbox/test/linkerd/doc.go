// Package linkerd holds the end-to-end tests of what the sandbox has of Linkerd:
// its destination controller, a proxy that obeys it, real pods and the load
// generator as judge. They need the built sandbox, Linkerd's binary (`make linkerd`
// in the sandbox's directory) and the build tag e2e.
package linkerd
