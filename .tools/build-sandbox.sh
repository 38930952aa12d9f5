#!/usr/bin/env bash
# Builds the sandbox's binaries, and tells how long a first build takes.
set -euo pipefail
cd "$(dirname "$0")/../e2e/sandbox"
bin="${WEIR_CACHE:-$HOME/.cache/weir}/bin"
step() { # step NAME ESTIMATE: build one target, with the time it took
	local began=$SECONDS
	if [ ! -x "$bin/$3" ]; then
		echo "building $1 (about $2 on 2 cores when nothing is cached)"
	fi
	make --no-print-directory BIN="$bin" "$4" >/dev/null
	if (( SECONDS - began > 5 )); then echo "built $1 in $((SECONDS - began)) s"; fi
}
step "the Kubernetes control plane" "8 minutes" sandbox-controlplane controlplane
step "Prometheus" "2 minutes" sandbox-prometheus prometheus
step "the sandbox" "1 minute" sandbox sandbox
