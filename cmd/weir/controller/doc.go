// Package controller wires the controller: flags, caches, watches, leader
// election, providers, metric sources and reconcilers. It decides nothing.
//
//	command.go   flags to options
//	run.go       options to a running manager
//	lease.go     who leads
//	cache.go     what the informers hold, and no more
//	watches.go   which change concerns which Rollout
//	hold.go      how the cluster holds new templates
//	sources.go   MetricSources to clients of metrics servers
package controller
