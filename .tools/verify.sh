#!/usr/bin/env bash
# Fails when generated files, module files or texts are not what they should be.
# It changes nothing in the checkout.
set -euo pipefail
export LC_ALL=C
cd "$(dirname "$0")/.."
failed=0
fail() {
	echo "verify: $*" >&2
	failed=1
}

# Generated files are made anew in a copy of the sources, and compared.
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
git ls-files -z --cached --others --exclude-standard | while IFS= read -r -d '' f; do
	if [ -f "$f" ]; then printf '%s\0' "$f"; fi
done | tar --null -T - -cf - | tar -C "$copy" -xf -
(cd "$copy" && go generate ./...)
for tree in apis charts docs; do
	diff -r "$tree" "$copy/$tree" || fail "generated files in $tree are not up to date: run 'make generate'"
done

# Module files are tidy.
while IFS= read -r file; do
	go -C "$(dirname "$file")" mod tidy -diff >"$copy/tidy" 2>&1 || { head -n 30 "$copy/tidy" >&2; fail "$file is not tidy: run 'make tidy'"; }
done < <(git ls-files '*go.mod')

# They name one version of whatever they share: what has another version is
# compiled once more, and with it all that depends on it, which is most of
# Kubernetes for some. Of Kubernetes itself v0.0.0 is replaced. Linkerd's
# destination controller is of 2020 and compiles with the Kubernetes libraries of
# its time alone; nothing else is built from its module.
git ls-files '*go.mod' ':!e2e/sandbox/linkerd/go.mod' | xargs awk '
	/=>/ { next }
	{ path = $1; version = $2 }
	$1 == "require" { path = $2; version = $3 }
	version ~ /^v[0-9]/ && version != "v0.0.0" && !seen[path " " version]++ { versions[path] = versions[path] " " version; n[path]++ }
	END { for (path in n) if (n[path] > 1) print path versions[path] }
' >"$copy/versions"
[ ! -s "$copy/versions" ] || { cat "$copy/versions" >&2; fail "module files name several versions of the above: raise the lower ones with 'go get'"; }

# What the decision core depends on changes only on purpose.
diff .tools/core-deps.txt <(.tools/core-deps.sh) || fail "the decision core has other dependencies than .tools/core-deps.txt: if that is meant, run 'make tidy'"

# A filter that matches no test would pass in silence.
listed() { # listed MODULE PACKAGE FILTER: how many tests the filter finds
	go test -C "$1" -vet=off -list "$3" "$2" | grep -c '^Test' || true
}
words() { tr '|' '\n' <<<"$1" | wc -l; }
[ "$(listed . ./rollout/sim "$SIM_TEST")" = "$(words "$SIM_TEST")" ] || fail "SIM_TEST names a test that is not there"
[ "$(listed e2e ./suites/release "$PAUSED_TESTS")" = "$(words "$PAUSED_TESTS")" ] || fail "PAUSED_TESTS names a test that is not there"

# The sources speak of the project alone: not of where somebody works on it, nor
# of trackers and registries, which come and go. Each pattern is written so that
# it does not match itself.
private=(
	'(^|[^[:alnum:]._-])/(work|home|root|Users)/[[:alnum:]]' # a path of one machine
	'(proxy|sum)[.]golang[.]org' 'GOPROXY=[^ ]*http'         # a module proxy
	'(^|[^.[:alnum:]])(docker|ghcr|quay|gcr)[.]io/'          # an image registry
	'(^|[^[:alnum:]-])issues? +(#|no[.] ?)?[0-9]+'            # an issue's number
)
for pattern in "${private[@]}"; do
	# Module sums and the Gateway API's CRDs are others' text.
	if git grep -nIiE "$pattern" -- . ':!*go.sum' ':!LICENSE' ':!e2e/sandbox/cluster/crds' ':!.tools/verify.sh'; then
		fail "the lines above mention what is not of the project ($pattern)"
	fi
done

exit $failed
