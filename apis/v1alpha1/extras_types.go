package v1alpha1

import (
	"encoding/json"
	"hash/fnv"
	"strconv"
)

// Extras are what a step does to requests beside their weight.
type Extras struct {
	// matches send requests that meet one of them to the new version, whatever the
	// weight: for tests by people, or by cohorts of users. They are added to those
	// of the user's rules.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=8
	Matches []Match `json:"matches,omitempty"`
	// mirror sends copies of requests to the new version, whose answers nobody gets.
	// What it answers is analysed.
	// +optional
	Mirror *Mirror `json:"mirror,omitempty"`
	// fault makes requests of the matches slower, or has them fail, to see whether
	// the new version's callers bear it.
	// +optional
	Fault *Fault `json:"fault,omitempty"`
}

// Match is met when all that it names is met.
//
// +kubebuilder:validation:MinProperties=1
type Match struct {
	// headers of the request; names are the same in upper and lower case.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=8
	Headers []ValueMatch `json:"headers,omitempty"`
	// cookies of the request, one at most: all of them are one header, of which only
	// one pattern can be asked for.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=1
	Cookies []ValueMatch `json:"cookies,omitempty"`
	// queryParams of the request's URL.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=8
	QueryParams []ValueMatch `json:"queryParams,omitempty"`
}

// MatchType says how a value is compared.
//
// +kubebuilder:validation:Enum=Exact;RegularExpression
type MatchType string

// How a value is compared.
const (
	// MatchExact compares the whole value.
	MatchExact MatchType = "Exact"
	// MatchRegularExpression is for the whole value, in the language of the data
	// plane, which most often is RE2.
	MatchRegularExpression MatchType = "RegularExpression"
)

// ValueMatch is met by a value of a name.
type ValueMatch struct {
	// type says how the value is compared.
	// +optional
	// +default="Exact"
	Type MatchType `json:"type,omitempty"`
	// name of the header, cookie or parameter.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:Pattern=`^[-A-Za-z0-9!#$%&'*+.^_\x60|~]+$`
	Name string `json:"name"`
	// value of it.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	Value string `json:"value"`
}

// Mirror sends copies of requests.
type Mirror struct {
	// weight is the share of the requests of which a copy is sent, in whole percent.
	// +optional
	// +default=100
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100
	Weight int32 `json:"weight,omitempty"`
}

// FaultType is the kind of a fault.
//
// +kubebuilder:validation:Enum=Delay;Abort
type FaultType string

// The kinds of faults.
const (
	FaultDelay FaultType = "Delay"
	FaultAbort FaultType = "Abort"
)

// Fault makes requests slower, or has them fail.
//
// +kubebuilder:validation:XValidation:rule="has(self.delay) == (self.type == 'Delay') && has(self.abort) == (self.type == 'Abort')",message="a fault of type Delay has delay, and one of type Abort has abort"
type Fault struct {
	// type of the fault.
	// +required
	Type FaultType `json:"type"`
	// delay of type Delay.
	// +optional
	Delay *FaultDelayed `json:"delay,omitempty"`
	// abort of type Abort.
	// +optional
	Abort *FaultAborted `json:"abort,omitempty"`
	// weight is the share of the requests that meet the fault, in whole percent.
	// +required
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100
	Weight int32 `json:"weight"`
}

// FaultDelayed lets requests wait.
type FaultDelayed struct {
	// duration of the wait.
	// +required
	// +kubebuilder:validation:XValidation:rule="!self.matches('^[0hms]*$')",message="duration must be longer than zero"
	Duration Duration `json:"duration"`
}

// FaultAborted answers requests instead of the version.
type FaultAborted struct {
	// httpStatus of the answer.
	// +required
	// +kubebuilder:validation:Minimum=200
	// +kubebuilder:validation:Maximum=599
	HTTPStatus int32 `json:"httpStatus"`
}

// ID tells extras apart, by what they say. It is empty where there are none.
func (e *Extras) ID() string {
	if e == nil || len(e.Matches) == 0 && e.Mirror == nil && e.Fault == nil {
		return ""
	}
	text, err := json.Marshal(e)
	if err != nil {
		return "" // Strings and numbers can always be written.
	}
	h := fnv.New64a()
	_, _ = h.Write(text)
	return strconv.FormatUint(h.Sum64(), 36)
}

// Extras are those of a step by their ID, nil for none. What a step says by now is
// not what an older record meant.
func (s *RolloutSpec) Extras(id string) *Extras {
	if id == "" {
		return nil
	}
	for i := range s.Steps {
		if e := &s.Steps[i].Extras; e.ID() == id {
			return e
		}
	}
	return nil
}
