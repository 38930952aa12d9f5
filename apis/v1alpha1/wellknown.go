package v1alpha1

// Labels and annotations that Weir reads and writes.
const (
	// RolloutLabel, on a workload, names its Rollout. The hold policy selects by
	// it; removing it is the way to take a workload out of Weir's hands.
	RolloutLabel = "weir.dev/rollout"
	// RolloutOff is the value of RolloutLabel that takes a workload out of Weir's
	// hands.
	RolloutOff = "off"
	// PinLabel, on a Service, is the revision that the pin policy keeps in the
	// Service's selector.
	PinLabel = "weir.dev/pin"
	// PinOff is the value of PinLabel by which people widen a Service again when
	// Weir is down: the pin policy then takes the revision out of the selector.
	// Taking the label off cannot mean that, since that is what a plain replace
	// does.
	PinOff = "off"
	// ManagedLabel marks objects that Weir made. Its value is the name of the
	// Rollout.
	ManagedLabel = "weir.dev/managed-by"
	// HandoverAnnotation, on a Deployment, makes the veto policy refuse new
	// ReplicaSets while the canary is handed over to it.
	HandoverAnnotation = "weir.dev/handover"
	// SplitAnnotation, on a route, holds the weights that the split policy keeps
	// in it.
	SplitAnnotation = "weir.dev/split"
	// SeqAnnotation is the stamp: the number of the record on which Weir's last
	// write of the object rests.
	SeqAnnotation = "weir.dev/seq"
	// ChangeAuthorAnnotation, on a workload, names who made the change, where
	// the writer is a robot. Anybody who may change the workload may write it.
	ChangeAuthorAnnotation = "weir.dev/change-author"
	// ChangedByAnnotation, on a workload, is the user who wrote the template. The
	// hold policy writes it and lets nobody else do so; without the policy it is
	// absent.
	ChangedByAnnotation = "weir.dev/changed-by"
	// ResumeRefusedAnnotation, on a workload, is the user who last tried to
	// un-pause it. The hold policy writes it, and takes it off when Weir
	// un-pauses.
	ResumeRefusedAnnotation = "weir.dev/resume-refused"
	// ChangeRefAnnotation, on a workload, names the change, such as a commit.
	ChangeRefAnnotation = "weir.dev/change-ref"
	// Finalizer, on a Rollout, is there only while a release or its remains are.
	Finalizer = "weir.dev/release"
)
