#!/usr/bin/env bash
# Fails when generated files or module files are not what the sources make.
set -euo pipefail
cd "$(dirname "$0")/.."
before=$(git status --porcelain)
go generate ./...
for module in . e2e e2e/sandbox e2e/sandbox/controlplane e2e/sandbox/prometheus; do
	(cd "$module" && go mod tidy)
done
after=$(git status --porcelain)
if [ "$before" != "$after" ]; then
	git --no-pager diff --stat
	echo "generated files or go.mod are not up to date: run 'make generate' and 'go mod tidy', and commit" >&2
	exit 1
fi
