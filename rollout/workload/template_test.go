package workload

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// parse reads a template from JSON.
func parse(t *testing.T, text string) template {
	t.Helper()
	var out map[string]any
	if err := json.Unmarshal([]byte(text), &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestDigest(t *testing.T) {
	const base = `{"metadata":{"labels":{"app":"web"}},"spec":{"containers":[{"name":"web","image":"web:v1","resources":{}}]}}`
	cases := map[string]struct {
		reason string
		other  string
		equal  bool
	}{
		"Itself": {
			reason: "A template equals itself.",
			other:  base,
			equal:  true,
		},
		"OtherOrder": {
			reason: "The order of keys in the JSON text does not matter.",
			other:  `{"spec":{"containers":[{"resources":{},"image":"web:v1","name":"web"}]},"metadata":{"labels":{"app":"web"}}}`,
			equal:  true,
		},
		"HashLabel": {
			reason: "A ReplicaSet's template differs from the Deployment's by the hash label alone.",
			other:  `{"metadata":{"labels":{"app":"web","pod-template-hash":"7d9f8c5b4"}},"spec":{"containers":[{"name":"web","image":"web:v1","resources":{}}]}}`,
			equal:  true,
		},
		"Nulls": {
			reason: "Older API servers write creationTimestamp: null into templates.",
			other:  `{"metadata":{"creationTimestamp":null,"labels":{"app":"web"}},"spec":{"containers":[{"name":"web","image":"web:v1","resources":{}}]}}`,
			equal:  true,
		},
		"EmptyList": {
			reason: "An empty list means what an absent one means, to the Deployment controller too.",
			other:  `{"metadata":{"labels":{"app":"web"}},"spec":{"containers":[{"name":"web","image":"web:v1","resources":{},"env":[]}]}}`,
			equal:  true,
		},
		"EmptySecurityContext": {
			reason: "The Deployment controller tells an empty securityContext of a container from none.",
			other:  `{"metadata":{"labels":{"app":"web"}},"spec":{"containers":[{"name":"web","image":"web:v1","resources":{},"securityContext":{}}]}}`,
		},
		"Annotation": {
			reason: "kubectl rollout restart adds an annotation: that is a new template.",
			other:  `{"metadata":{"labels":{"app":"web"},"annotations":{"kubectl.kubernetes.io/restartedAt":"now"}},"spec":{"containers":[{"name":"web","image":"web:v1","resources":{}}]}}`,
		},
		"UnknownField": {
			reason: "A field that the client library does not know yet counts as any other.",
			other:  `{"metadata":{"labels":{"app":"web"}},"spec":{"fieldOfTheFuture":1,"containers":[{"name":"web","image":"web:v1","resources":{}}]}}`,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			want, err := parse(t, base).digest()
			if err != nil {
				t.Fatal(err)
			}
			got, err := parse(t, tc.other).digest()
			if err != nil {
				t.Fatal(err)
			}
			if (got == want) != tc.equal {
				t.Errorf("%s\nequal = %t, want %t", tc.reason, got == want, tc.equal)
			}
		})
	}
}

func TestDigestLeavesTemplate(t *testing.T) {
	const text = `{"metadata":{"creationTimestamp":null,"labels":{"app":"web","pod-template-hash":"x"}},"spec":{"containers":[]}}`
	got := parse(t, text)
	if _, err := got.digest(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(parse(t, text), got); diff != "" {
		t.Errorf("digest must not change the template (-want +got):\n%s", diff)
	}
}

func TestHashLabels(t *testing.T) {
	base := parse(t, `{"metadata":{"labels":{"app":"web"}},"spec":{"fieldOfTheFuture":{"a":[1,2]}}}`)
	with := base.withHash("w123456789")
	want := parse(t, `{"metadata":{"labels":{"app":"web","pod-template-hash":"w123456789"}},"spec":{"fieldOfTheFuture":{"a":[1,2]}}}`)
	if diff := cmp.Diff(want, with); diff != "" {
		t.Errorf("the copy must have every field and the hash (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(base, with.withoutHash()); diff != "" {
		t.Errorf("taking the hash off must give the original (-want +got):\n%s", diff)
	}
}

func TestRevisionOfDigest(t *testing.T) {
	revision := revisionOf(podTemplate("v1"))
	if !regexp.MustCompile(`^w[0-9a-f]{9}$`).MatchString(revision) {
		t.Errorf("revision %q is not of Weir's form", revision)
	}
	// The Deployment controller spells the decimal digits of a 32-bit hash with
	// its own alphabet, in which no w occurs for a digit.
	const alphabet = "bcdfghjklmnpqrstvwxz2456789"
	for digit := '0'; digit <= '9'; digit++ {
		if strings.HasPrefix(revision, string(alphabet[int(digit)%len(alphabet)])) {
			t.Errorf("revision %q begins as a hash of the Deployment controller may", revision)
		}
	}
}

func TestNames(t *testing.T) {
	long := strings.Repeat("x", 60)
	cases := map[string]struct {
		reason string
		got    string
		want   string
	}{
		"Service": {
			reason: "The twin is named after the user's Service.",
			got:    CanaryServiceName("web"),
			want:   "web-canary",
		},
		"LongService": {
			reason: "A name that would be too long is cut, and made unique by a hash.",
			got:    CanaryServiceName(long),
			want:   strings.Repeat("x", 47) + "-42f2d973-canary",
		},
		"Set": {
			reason: "The set is named after the Deployment and the revision.",
			got:    replicaSetName("web", "w123456789"),
			want:   "web-w123456789",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, tc.got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
			if len(tc.got) > 63 {
				t.Errorf("name %q has %d characters", tc.got, len(tc.got))
			}
		})
	}
	if CanaryServiceName(long) == CanaryServiceName(long+"y") {
		t.Error("different Services need different twins")
	}
}
