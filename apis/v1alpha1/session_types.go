package v1alpha1

// SessionAffinity keeps each user with one version while a release has some but not
// all of the traffic. Routes of kind HTTPRoute and VirtualService keep sessions;
// beside them a GRPCRoute is split by its weights alone, since gRPC clients keep no
// cookies.
//
// Who comes without the cookie is drawn by the step's weight, and the answer sets
// the cookie (Path=/, HttpOnly, SameSite=Lax; without Secure, so that hosts without
// TLS have sessions, too: it names a release and holds no secret). Who was drawn for
// the new version stays with it until the release ends. When the weight goes up,
// those of the stable version are drawn once more, so that the new version has the
// weight as its share of the users, returning and new. A rollback takes every
// session of the new version back at once, and what is left in browsers means
// nothing to the next release, not even to a retry of the same template.
//
// In an HTTPRoute the rules for sessions match the cookie beside what the user's rule
// matches. Another rule of the route that would so lose requests is refused. Other
// HTTPRoutes of the same host are not looked at: one that tells its requests apart by one
// header for the same path loses those with the cookie to an older route.
//
// Clients that keep no cookies are drawn at each request. The measured share of the
// requests is shown, but no step waits for it: some users send more of them.
type SessionAffinity struct {
	// cookieName is the name of the cookie. Rollouts behind one host need names of
	// their own. Absent: weir-<name of the Rollout>.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9][-A-Za-z0-9._]*$`
	CookieName string `json:"cookieName,omitempty"`
	// maxAge is how long a session lasts, in whole seconds; after it the user is drawn
	// anew. Absent: 24h.
	// +optional
	// +kubebuilder:validation:XValidation:rule="!self.matches('^[0hms]*$') && !self.contains('ms')",message="maxAge must be at least one second, and in whole seconds: leave it away for 24h"
	MaxAge Duration `json:"maxAge,omitempty"`
}
