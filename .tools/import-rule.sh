#!/usr/bin/env bash
# Proves that the linters which guard the architecture bite: to a copy of the
# sources it adds a file for each thing that is forbidden, and fails unless all
# of these files, and no others, are reported. None of them may close an import
# cycle, which would hide the rest.
#
#   import-rule.sh GOLANGCI_LINT
set -euo pipefail
lint=$1
weir=github.com/weir-dev/weir
cd "$(dirname "$0")/.."
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
git ls-files -z --cached --others --exclude-standard | while IFS= read -r -d '' f; do
	if [ -f "$f" ]; then printf '%s\0' "$f"; fi
done | tar --null -T - -cf - | tar -C "$copy" -xf -
cd "$copy"

expected=()
# add FOLDER LINTER IMPORT [EXPRESSION]: a file that LINTER must report.
add() {
	local name=zzForbidden${#expected[@]}
	local file=$1/$name.go
	if [ $# = 3 ]; then
		printf 'package %s\n\nimport _ "%s"\n' "$(basename "$1")" "$3" >"$file"
	else
		printf 'package %s\n\nimport "%s"\n\nfunc %s() any { return %s }\n' "$(basename "$1")" "$3" "$name" "$4" >"$file"
	fi
	expected+=("$file $2")
}

add apis/v1alpha1 depguard sigs.k8s.io/controller-runtime/pkg/client
add apis/v1alpha1 depguard k8s.io/apiserver/pkg/apis/cel
for package in rollout/decide metrics/judge; do
	for import in context os os/exec net/http log/slog math/rand/v2 sync reflect \
		k8s.io/api/apps/v1 k8s.io/apimachinery/pkg/api/equality $weir/providers $weir/metrics; do
		add $package depguard $import
	done
done
add rollout/decide depguard $weir/metrics/judge
add providers depguard k8s.io/api/apps/v1
add providers/gatewayapi depguard $weir/providers/kubernetes
add providers/kubernetes depguard $weir/rollout/pods
add providers/kubernetes depguard $weir/metrics
add providers/gatewayapi depguard $weir/providers/istio/served
add providers/istio/served depguard $weir/providers/linkerd
add providers/istio/served depguard $weir/providers/split
add providers/linkerd/served depguard $weir/rollout/pods
add providers/conformance depguard $weir/cmd/weir/egress
add metrics depguard k8s.io/api/apps/v1
add metrics/prometheus depguard $weir/rollout/decide
add metrics/prometheus depguard $weir/providers
add metrics/prometheus depguard $weir/metrics/judge
add metrics/evaluate depguard $weir/metrics/prometheus
add metrics/evaluate depguard $weir/cmd/weir/egress
add rollout depguard $weir/providers/gatewayapi
add rollout depguard $weir/metrics/prometheus
add rollout/workload depguard $weir/providers/kubernetes
add rollout/workload depguard $weir/cmd/weir/egress
add rollout/analysis depguard $weir/rollout/sim
add cmd/weir/controller depguard $weir/rollout/sim
add cmd/weir/controller depguard $weir/providers/conformance

# The clock, a context out of nothing and the default client are no imports.
add rollout/decide forbidigo time 'time.Now()'
add metrics/judge forbidigo time 'time.Since(time.Time{})'
add rollout/decide forbidigo k8s.io/apimachinery/pkg/apis/meta/v1 'v1.Now()'
add metrics/judge forbidigo k8s.io/apimachinery/pkg/apis/meta/v1 'v1.NowMicro()'
add providers/gatewayapi forbidigo context 'context.Background()'
add providers/gatewayapi forbidigo net/http 'http.DefaultClient'

# run LINTER PACKAGES...: what LINTER finds there, as "file linter".
run() {
	local linter=$1 status=0
	shift
	"$lint" run --enable-only "$linter" --max-issues-per-linter 0 --max-same-issues 0 --show-stats=false \
		--output.text.path found --output.text.print-issued-lines=false --output.text.colors=false "$@" >&2 || status=$?
	if ((status > 1)); then exit $status; fi # 1 means that something was found, as it should be
	sed -E 's/^([^:]+):.*\((\w+)\)$/\1 \2/' found
}

# depguard reads imports only; forbidigo needs types, so it gets few packages.
run depguard ./apis/... ./cmd/... ./metrics/... ./providers/... ./rollout/... >all
run forbidigo ./rollout/decide ./metrics/judge ./providers/gatewayapi >>all
if ! diff <(printf '%s\n' "${expected[@]}" | sort) <(sort all); then
	echo "the linters miss what is forbidden (<), or report what is not (>): see .golangci.yml" >&2
	exit 1
fi
echo "${#expected[@]} forbidden things, and all are found"
