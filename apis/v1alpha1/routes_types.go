package v1alpha1

// RouteReference names a route in the Rollout's namespace.
type RouteReference struct {
	// kind of the route.
	// +required
	// +kubebuilder:validation:Enum=HTTPRoute;GRPCRoute;VirtualService;ServiceProfile
	Kind string `json:"kind"`
	// name of the route.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
	// ruleNames narrow the split to the rules of these names. Absent: every
	// rule with a backend of the workload.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=253
	RuleNames []string `json:"ruleNames,omitempty"`
}

// ServiceReference names a Service in the Rollout's namespace.
type ServiceReference struct {
	// name of the Service.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Name string `json:"name"`
}

// TrafficStatus says who carries the split and on which objects.
type TrafficStatus struct {
	// provider of the release under way, or of the last one.
	// +optional
	Provider TrafficProvider `json:"provider,omitempty"`
	// services are the user's Services whose callers are split.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=63
	Services []string `json:"services,omitempty"`
	// routes that are split, as Kind/name.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=8
	// +kubebuilder:validation:items:MaxLength=320
	Routes []string `json:"routes,omitempty"`
	// previewService is the preview Service that was made, or is about to be.
	// +optional
	// +kubebuilder:validation:MaxLength=63
	PreviewService string `json:"previewService,omitempty"`
}

// PreviewServiceName is the name of the preview Service, empty for none.
func (s *RolloutSpec) PreviewServiceName() string {
	if s.Traffic == nil {
		return ""
	}
	return s.Traffic.PreviewServiceName
}
