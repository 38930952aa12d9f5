#!/usr/bin/env bash
# Prints what the decision core is made of: the standard packages it imports
# itself, and all other packages it depends on.
set -euo pipefail
export LC_ALL=C
cd "$(dirname "$0")/.."
core=./rollout/decide
{
	go list -f '{{join .Imports "\n"}}' $core
	go list -deps -f '{{if not .Standard}}{{.ImportPath}}{{end}}' $core
} | sort -u
