#!/usr/bin/env bash
# Installs, once and outside the clone, what only developers need: the compiler for the L1 program and a real solana-test-validator.
# Users of the Python packages need none of it. Debian bookworm (root, or sudo); about 25 minutes on two cores when nothing is there.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
tools=${POUW_TOOLS:-$HOME/.cache/pouw-tools}
agave_version=4.1.2 # the version of the runtime inside solders' LiteSVM

# shellcheck source=scripts/program_tools.sh
source "$root/scripts/program_tools.sh"
debian_packages+=(protobuf-compiler libclang-dev clang libudev-dev libssl-dev pkg-config cmake make g++ procps)
mkdir -p "$tools"
install_sbf_tools

validator=$tools/bin/solana-test-validator
if [[ $("$validator" --version 2>/dev/null || true) != *" $agave_version "* ]]; then
  echo "building solana-test-validator $agave_version from crates.io (about 20 minutes)" >&2
  build_dir=$(mktemp -d)
  trap 'rm -rf "$build_dir"' EXIT
  # rustup's compiler when there is one, Debian's otherwise; opt-level 1 without debug information: it starts in seconds and builds in a third of the time.
  CARGO_PROFILE_DEV_OPT_LEVEL=1 CARGO_PROFILE_DEV_DEBUG=0 CARGO_INCREMENTAL=0 CARGO_TARGET_DIR=$build_dir \
    cargo install "agave-validator@$agave_version" --bin solana-test-validator --locked --features agave-unstable-api --debug \
    --quiet --root "$tools" --force >&2
fi
echo "$("$tools/bin/sbpf-linker" --version), $("$validator" --version)"
