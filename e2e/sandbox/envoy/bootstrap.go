package envoy

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"net"
	"strconv"
	"strings"
	"text/template"
)

// Role is what an Envoy is in the mesh. It decides which routes istiod sends.
type Role string

const (
	// Sidecar routes the requests of a client as the mesh's rules say.
	Sidecar Role = "sidecar"
	// Gateway routes requests that come from outside the mesh, as the Gateways
	// say that select its labels.
	Gateway Role = "gateway"
)

// Ports of every Envoy, at the pod's address.
const (
	// AdminPort answers /ready, /stats and /config_dump.
	AdminPort = 15000
	// MetricsPort has the series of requests, at MetricsPath.
	MetricsPort = 15020
	// SidecarPort is where a sidecar serves the routes of Services' port 80.
	SidecarPort = 15080
)

// MetricsPath is where Istio's agent serves metrics.
const MetricsPath = "/stats/prometheus"

// pod is what an Envoy has to know of the pod it runs in.
type pod struct {
	name, namespace, ip string
	labels              map[string]string
}

// podFromEnv reads what the sandbox's kubelet gives every container.
func podFromEnv(getenv func(string) string) (pod, error) {
	p := pod{name: getenv("POD_NAME"), namespace: getenv("POD_NAMESPACE"), ip: getenv("POD_IP")}
	if p.name == "" || p.namespace == "" {
		return p, fmt.Errorf("invalid POD_NAME %q or POD_NAMESPACE %q: want those of a pod", p.name, p.namespace)
	}
	if net.ParseIP(p.ip) == nil {
		return p, fmt.Errorf("invalid POD_IP %q: want an IP address", p.ip)
	}
	if labels := getenv("POD_LABELS"); labels != "" {
		if err := json.Unmarshal([]byte(labels), &p.labels); err != nil {
			return p, fmt.Errorf("invalid POD_LABELS %q: want a JSON object of strings: %w", labels, err)
		}
	}
	return p, nil
}

// route is a port and the name of istiod's route configuration that is served
// there.
type route struct {
	port   uint16
	routes string
}

// parseRoute reads PORT=ROUTES.
func parseRoute(s string) (route, error) {
	text, routes, ok := strings.Cut(s, "=")
	port, err := strconv.ParseUint(text, 10, 16)
	if !ok || err != nil || port == 0 || routes == "" {
		return route{}, fmt.Errorf("invalid --http %q: want PORT=ROUTES, such as 15080=80", s)
	}
	return route{port: uint16(port), routes: routes}, nil
}

// config is what a bootstrap is made of.
type config struct {
	role   Role
	pod    pod
	istiod string // HOST:PORT
	http   []route
	tcp    bool
}

//go:embed bootstrap.yaml
var bootstrapText string

var bootstrapTemplate = template.Must(template.New("bootstrap").Funcs(template.FuncMap{"json": toJSON}).Parse(bootstrapText))

func toJSON(v any) (string, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return "", fmt.Errorf("cannot encode %v: %w", v, err)
	}
	return string(data), nil
}

// address and listener are what the template sees of these.
type address struct {
	Host string
	Port uint16
}

type listener struct {
	Name    string
	Address address
	Routes  string
}

// bootstrap returns the configuration that Envoy starts with.
func bootstrap(c config) ([]byte, error) {
	host, text, err := net.SplitHostPort(c.istiod)
	if err != nil {
		return nil, fmt.Errorf("invalid --istiod %q: want HOST:PORT: %w", c.istiod, err)
	}
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return nil, fmt.Errorf("invalid --istiod %q: want a port number: %w", c.istiod, err)
	}
	data := struct {
		NodeID, Cluster string
		Metadata        map[string]any
		Admin, Istiod   address
		HTTP            []listener
		TCP             bool
		Requests        string
	}{
		NodeID:   c.nodeID(),
		Cluster:  c.pod.name + "." + c.pod.namespace,
		Metadata: c.metadata(),
		Admin:    c.at(AdminPort),
		Istiod:   address{host, uint16(port)},
		TCP:      c.tcp,
		Requests: requestLog,
	}
	for _, r := range c.http {
		data.HTTP = append(data.HTTP, listener{Name: fmt.Sprintf("http-%d", r.port), Address: c.at(r.port), Routes: r.routes})
	}
	var out bytes.Buffer
	if err := bootstrapTemplate.Execute(&out, data); err != nil {
		return nil, fmt.Errorf("cannot make a bootstrap: %w", err)
	}
	return out.Bytes(), nil
}

func (c config) at(port uint16) address { return address{c.pod.ip, port} }

// nodeID is TYPE~IP~POD.NAMESPACE~DOMAIN, from which istiod takes the pod and
// the names that are short for it.
func (c config) nodeID() string {
	kind := "sidecar"
	if c.role == Gateway {
		kind = "router"
	}
	return fmt.Sprintf("%s~%s~%s.%s~%s.svc.cluster.local", kind, c.pod.ip, c.pod.name, c.pod.namespace, c.pod.namespace)
}

func (c config) metadata() map[string]any {
	return map[string]any{
		"NAME":         c.pod.name,
		"NAMESPACE":    c.pod.namespace,
		"CLUSTER_ID":   "Kubernetes",
		"INSTANCE_IPS": c.pod.ip,
		// Istiod serves old proxies otherwise than new ones. It takes this one
		// for as new as itself.
		"ISTIO_VERSION": "1.31.0",
		// By these sourceLabels and Gateways' selectors match.
		"LABELS": c.pod.labels,
	}
}
