package stage

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weir-dev/weir/apis/v1alpha1"
)

// Observer reads a shop's Rollout and route for as long as a test lasts, and
// nothing else, and knows afterwards whether what must always hold did.
type Observer struct {
	mu sync.Mutex
	// desired is the weight that each record allowed, by its seq.
	desired map[int64]int32
	// routes are the weights that the route had, with the seq each rests on.
	routes []stampedWeight
	// problems are what was wrong at once.
	problems []string
	done     sync.WaitGroup
	cancel   context.CancelFunc
}

type stampedWeight struct {
	weight int32
	seq    int64
}

// Observe starts to watch.
func (s *Shop) Observe(ctx context.Context) (*Observer, error) {
	ctx, cancel := context.WithCancel(ctx)
	o := &Observer{desired: map[int64]int32{0: 0}, cancel: cancel}
	for _, kind := range []client.ObjectList{&v1alpha1.RolloutList{}, &gatewayv1.HTTPRouteList{}} {
		events, err := s.Admin.Watch(ctx, kind, client.InNamespace(s.Namespace))
		if err != nil {
			cancel()
			return nil, fmt.Errorf("cannot watch %T: %w", kind, err)
		}
		o.done.Add(1)
		go o.follow(ctx, s, kind, events)
	}
	return o, nil
}

// follow takes every version of the objects. A watch that ends, as when the API
// server restarts, is opened again: what was missed in between is read anew.
func (o *Observer) follow(ctx context.Context, s *Shop, kind client.ObjectList, events watch.Interface) {
	defer o.done.Done()
	for {
		for event := range events.ResultChan() {
			switch object := event.Object.(type) {
			case *v1alpha1.Rollout:
				o.sawRollout(object)
			case *gatewayv1.HTTPRoute:
				o.sawRoute(object)
			}
		}
		events.Stop()
		for {
			if ctx.Err() != nil {
				return
			}
			var err error
			if events, err = s.Admin.Watch(ctx, kind, client.InNamespace(s.Namespace)); err == nil {
				break
			}
		}
	}
}

func (o *Observer) sawRollout(r *v1alpha1.Rollout) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.desired[r.Status.Record.Seq] = r.Status.Record.DesiredWeight
}

func (o *Observer) sawRoute(route *gatewayv1.HTTPRoute) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for i, rule := range route.Spec.Rules {
		weight, err := canaryShare(rule.BackendRefs)
		if err != nil {
			o.problems = append(o.problems, fmt.Sprintf("rule %d of the route: %v", i, err))
			continue
		}
		if weight == 0 {
			continue
		}
		// Routes may be shared, so a stamp there names its Rollout.
		stamp := strings.TrimPrefix(route.Annotations[v1alpha1.SeqAnnotation], Name+"=")
		seq, err := strconv.ParseInt(stamp, 10, 64)
		if err != nil {
			o.problems = append(o.problems, fmt.Sprintf("the route gives the canary %d parts and has no stamp: %v", weight, err))
			continue
		}
		o.routes = append(o.routes, stampedWeight{weight, seq})
	}
}

// canaryShare is the weight of the backends other than the shop's own Service,
// in parts per 10,000. A rule without that Service is no business of the shop's.
func canaryShare(refs []gatewayv1.HTTPBackendRef) (int32, error) {
	if !slices.ContainsFunc(refs, func(ref gatewayv1.HTTPBackendRef) bool { return ref.Name == Name }) {
		return 0, nil
	}
	var canary, all int64
	for _, ref := range refs {
		weight := int64(1)
		if ref.Weight != nil {
			weight = int64(*ref.Weight)
		}
		all += weight
		if ref.Name != Name {
			canary += weight
		}
	}
	if all == 0 {
		return 0, fmt.Errorf("its backends have no weight at all")
	}
	return int32(canary * int64(v1alpha1.FullWeight) / all), nil
}

// Stop ends the observation and gives what was wrong: a weight in the route that
// was larger than its record allowed, a route without any weight.
func (o *Observer) Stop() []string {
	o.cancel()
	o.done.Wait()
	problems := o.problems
	for _, r := range o.routes {
		if allowed, seen := o.desired[r.seq]; seen && r.weight > allowed {
			problems = append(problems, fmt.Sprintf("the route gave the canary %d parts of 10,000 where record %d allowed %d", r.weight, r.seq, allowed))
		}
	}
	return problems
}
