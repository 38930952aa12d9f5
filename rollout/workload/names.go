package workload

import (
	"crypto/sha256"
	"encoding/hex"

	"k8s.io/apimachinery/pkg/util/validation"
)

// canarySuffix ends the names of the canary's Services.
const canarySuffix = "-canary"

// CanaryServiceName is the name of the Service that selects the canary's pods
// beside the user's Service of the given name. A name that would be too long
// is cut, and made unique by a hash of the whole.
func CanaryServiceName(service string) string {
	return bounded(service, canarySuffix, validation.DNS1035LabelMaxLength)
}

// replicaSetName is the name of the canary's ReplicaSet. It follows from the
// Deployment and the revision alone, so that a second attempt to create it
// finds the first.
func replicaSetName(deployment, revision string) string {
	return bounded(deployment, "-"+revision, validation.DNS1123SubdomainMaxLength)
}

// bounded appends a suffix to a name, within limit characters.
func bounded(name, suffix string, limit int) string {
	if len(name)+len(suffix) <= limit {
		return name + suffix
	}
	sum := sha256.Sum256([]byte(name))
	mark := "-" + hex.EncodeToString(sum[:4])
	return name[:limit-len(suffix)-len(mark)] + mark + suffix
}
