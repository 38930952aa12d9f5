// Package load is the sandbox's load generator and the reader of its log.
package load
