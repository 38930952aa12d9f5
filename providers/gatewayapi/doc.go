// Package gatewayapi splits traffic by the weights of HTTPRoute and GRPCRoute.
//
// Weights are written as package split says. A Gateway or a mesh that serves a
// route says in its status what it has taken, which is the first evidence that
// a weight is in force; the measured share is the second.
package gatewayapi
