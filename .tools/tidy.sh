#!/usr/bin/env bash
# Tidies the module files, and writes what the decision core depends on.
set -euo pipefail
cd "$(dirname "$0")/.."
git ls-files '*go.mod' | while IFS= read -r file; do
	go -C "$(dirname "$file")" mod tidy
done
.tools/core-deps.sh >.tools/core-deps.txt
