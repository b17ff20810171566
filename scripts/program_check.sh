#!/usr/bin/env bash
# Fails unless the committed program and IDL are exactly what this source builds to: rebuilds from two directories with two cargo homes and
# compares all bytes. Then builds for a second program id and runs the same test under both; without the protections that
# tests/program/unprotected.py names, where attacks must succeed; and as a next version may be (tests/program/next_version.py), to which the
# committed program is upgraded over live accounts. Installs what it lacks.
set -euo pipefail
set -m # a build in the background is a process group, cargo and rustc included, so that it can be ended whole
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
artifacts=$root/settlement/artifacts
other_id=g35ffcFoZRqv5Ph2PdfCuyKJVRtd24vroiMW9HovuKK # tests/program/test_two_ids.py
work=$(mktemp -d)
end_builds() {
  local group
  for group in $(jobs -p); do kill -- "-$group" 2> /dev/null || true; done
  wait
  rm -rf "$work"
}
trap end_builds EXIT
unset POUW_PROGRAM_ID POUW_BUILD_DIR CARGO_TARGET_DIR

# What the build reads, and nothing else: a build that needs more than this is not the committed one.
copy_source() {
  mkdir -p "$1/programs" "$1/settlement/artifacts"
  (cd "$root" && tar -cf - --exclude=target programs/settlement scripts/program_build.sh scripts/program_tools.sh) | tar -xf - -C "$1"
}

# A cargo home of its own, with the downloaded crates of the usual one, so that paths differ and nothing is downloaded twice.
new_cargo_home() {
  mkdir -p "$1/registry"
  local usual=${CARGO_HOME:-$HOME/.cargo}
  for part in cache index; do
    [ ! -d "$usual/registry/$part" ] || cp -r "$usual/registry/$part" "$1/registry/$part"
  done
}

build_elsewhere() { # directory, cargo home
  copy_source "$1"
  new_cargo_home "$2"
  POUW_TOOLS=${POUW_TOOLS:-$HOME/.cache/pouw-tools} CARGO_HOME=$2 "$1/scripts/program_build.sh"
}

same() { # what, file, committed file
  if ! cmp "$2" "$3"; then
    echo "program_check.sh: $1 differs from the committed $3; commit what scripts/program_build.sh and scripts/program_idl.py make" >&2
    exit 1
  fi
  echo "$1: equal to the committed file"
}

first=$work/a second=$work/somewhere/else/entirely
# The tools first and once; then both at a time, since each spends most of its minutes in one crate.
# shellcheck source=scripts/program_tools.sh
(tools=${POUW_TOOLS:-$HOME/.cache/pouw-tools} && source "$root/scripts/program_tools.sh" && install_sbf_tools)
build_elsewhere "$first" "$work/cargo-a" &
first_build=$!
build_elsewhere "$second" "$work/another-cargo-home" &
second_build=$!
wait "$first_build"
wait "$second_build"
same "first build" "$first/settlement/artifacts/settlement.so" "$artifacts/settlement.so"
same "second build" "$second/settlement/artifacts/settlement.so" "$artifacts/settlement.so"

python3 "$root/scripts/program_idl.py" -o "$work/settlement.json"
same "IDL" "$work/settlement.json" "$artifacts/settlement.json"

# In the folders of the first builds, where std and the crates are compiled already; the second one's sources are edited.
(cd "$root" && ./run python -m tests.program.unprotected "$second")
build_again() { # directory, cargo home, further arguments
  POUW_TOOLS=${POUW_TOOLS:-$HOME/.cache/pouw-tools} CARGO_HOME=$2 "$1/scripts/program_build.sh" "${@:3}"
}
build_again "$first" "$work/cargo-a" --id "$other_id" -o "$work/other.so" &
first_build=$!
build_again "$second" "$work/another-cargo-home" -o "$work/unprotected.so" &
second_build=$!
wait "$first_build"
build_again "$first" "$work/cargo-a" --features cu-log -o "$work/cu-log.so" & # for the benchmark and its tests, which would build std again
first_build=$!
wait "$second_build"
rm -r "$second/programs"
copy_source "$second"
(cd "$root" && ./run python -m tests.program.next_version "$second")
build_again "$second" "$work/another-cargo-home" -o "$work/next.so" &
second_build=$!
wait "$first_build"
wait "$second_build"
(cd "$root" && ./run python -m bench.feature_build "$work/cu-log.so")
POUW_OTHER_PROGRAM=$work/other.so POUW_UNPROTECTED_PROGRAM=$work/unprotected.so POUW_NEXT_PROGRAM=$work/next.so \
  "$root/run" pytest -n 2 --dist load "$root"/tests/program/test_{two_ids,twins_unprotected,upgrade_path}.py
