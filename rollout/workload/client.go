package workload

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/singleflight"
	"k8s.io/utils/lru"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weir-dev/weir/providers"
)

// FieldManager is the name under which Weir's writes stand in managedFields.
const FieldManager = "weir"

// ErrPrecondition says that something which must be true before the write is not
// true of the live objects. Nothing was written; the caller must read anew and
// decide again.
var ErrPrecondition = errors.New("precondition does not hold")

// ErrFenced says that the object carries a newer stamp than the record on which the
// write rests. Nothing was written.
var ErrFenced = providers.ErrFenced

// Client observes workloads and performs effects on them. Its methods may be
// called from several goroutines, for different Rollouts at the same time.
type Client struct {
	cached client.Reader
	live   client.Reader
	writer client.Writer
	// digests remembers templates' digests by digestKey, adopting the adopters
	// of a namespace.
	digests, adopting *lru.Cache
	// resumed remembers since when a Deployment has been seen resumed, by UID and
	// generation.
	resumed *lru.Cache
	// looking joins those who want the adopters of a namespace at the same time.
	looking singleflight.Group
	now     func() time.Time
}

// New makes a Client. cached reads from informers, which may be filtered, late
// and, for Deployments and ReplicaSets, stripped by StripDeployment and StripReplicaSet; live asks the
// API server; writer writes.
func New(cached, live client.Reader, writer client.Writer) *Client {
	return &Client{
		cached:   cached,
		live:     live,
		writer:   writer,
		digests:  lru.New(maxDigests),
		adopting: lru.New(maxNamespaces),
		resumed:  lru.New(maxDigests),
		now:      time.Now,
	}
}

// unmet is an ErrPrecondition that says which.
func unmet(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrPrecondition, fmt.Sprintf(format, args...))
}
