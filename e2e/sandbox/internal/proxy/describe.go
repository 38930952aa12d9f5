package proxy

// Description tells what is in force for one hostname and rule.
type Description struct {
	Host     string               `json:"host"`
	Kind     string               `json:"kind"`
	Route    string               `json:"route"`
	Rule     string               `json:"rule"`
	Backends []BackendDescription `json:"backends"`
	Mirrors  []BackendDescription `json:"mirrors,omitempty"`
}

// BackendDescription is one backend of a rule.
type BackendDescription struct {
	Service string `json:"service"`
	// Weight is of Of: of the sum of all weights, or of the denominator of a
	// mirror.
	Weight int64 `json:"weight"`
	Of     int64 `json:"of"`
	// Invalid says that the reference cannot be used.
	Invalid   bool     `json:"invalid,omitempty"`
	Endpoints []string `json:"endpoints"`
}

// Describe tells what is in force, rule by rule.
func (p *Proxy) Describe() []Description {
	list := []Description{}
	for e := range p.Table().All {
		// A rule with several matches has several entries in a row or apart.
		if d := e.Rule.Describe(e.Host); !known(list, d) {
			list = append(list, d)
		}
	}
	return list
}

// Describe tells what a rule does with the requests for a host.
func (r *Rule) Describe(host string) Description {
	d := Description{Host: host, Kind: r.Kind, Route: r.Namespace + "/" + r.Route, Rule: r.Name}
	var total int64
	for _, b := range r.Backends {
		total += b.Weight
	}
	for _, b := range r.Backends {
		d.Backends = append(d.Backends, describe(b.Service, b.Weight, total, b.Backend))
	}
	for _, m := range r.Mirrors {
		d.Mirrors = append(d.Mirrors, describe(m.Service, m.Numerator, m.Denominator, m.Backend))
	}
	return d
}

func known(list []Description, d Description) bool {
	for _, have := range list {
		if have.Host == d.Host && have.Kind == d.Kind && have.Route == d.Route && have.Rule == d.Rule {
			return true
		}
	}
	return false
}

func describe(service string, weight, of int64, b *Backend) BackendDescription {
	d := BackendDescription{Service: service, Weight: weight, Of: of, Invalid: b == nil, Endpoints: []string{}}
	if b != nil {
		for _, e := range b.Endpoints() {
			d.Endpoints = append(d.Endpoints, e.Address.String())
		}
	}
	return d
}
