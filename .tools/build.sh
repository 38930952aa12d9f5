#!/usr/bin/env bash
# Builds one binary and shows how far it is: a first build compiles thousands of
# packages and takes minutes, a later one ends in a second and says nothing.
#
#   build.sh BINARY ESTIMATE FOLDER PACKAGE COMMAND...
#
# COMMAND builds PACKAGE of the module in FOLDER ("": of another module); ESTIMATE
# is what that takes on two cores when nothing is cached.
set -euo pipefail
binary=$1 estimate=$2 folder=$3 package=$4
shift 4
name=$(basename "$binary")
began=$SECONDS said=$SECONDS

# seldom is true for the first call after 15 quiet seconds.
seldom() { ((SECONDS - said >= 15)) && said=$SECONDS; }

# fetching counts the modules that are fetched, and passes other lines on.
fetching() {
	local line n=0
	while IFS= read -r line; do
		if [[ $line != "go: downloading "* ]]; then
			echo "$line" >&2
			continue
		fi
		n=$((n + 1))
		if seldom; then echo "  $name: fetched $n modules in $((SECONDS - began)) s"; fi
	done
}

# compiling does the same for the packages that the compiler names. It also
# speaks up in the long silence of the linker.
compiling() {
	local line n=0 all="" status=0
	if ((total)); then all=" of at most $total"; fi
	while true; do
		IFS= read -r -t 15 line && status=0 || status=$?
		if ((status > 0 && status <= 128)); then break; fi # the end, and no time-out
		if ((status == 0)); then
			case $line in
			"go: downloading "*) ;;
			*[!a-zA-Z0-9._~/-]*) echo "$line" >&2 ;;
			*) n=$((n + 1)) ;;
			esac
		fi
		if seldom; then
			if ((n)); then
				echo "  $name: compiled $n$all packages in $((SECONDS - began)) s"
			else # all is compiled already
				echo "  $name: still linking after $((SECONDS - began)) s"
			fi
		fi
	done
}

total=0
if [ ! -x "$binary" ]; then
	echo "building $name: about $estimate on 2 cores when nothing is cached, much less when others have built before"
	if [ -n "$package" ]; then
		go list -C "$folder" -deps "$package" 2>&1 >/dev/null | fetching
		total=$(go list -C "$folder" -deps "$package" | wc -l)
	fi
fi
GOFLAGS="${GOFLAGS:-} -v" "$@" 2>&1 | compiling
if ((SECONDS - began >= 5)); then echo "built $name in $((SECONDS - began)) s"; fi
