#!/usr/bin/env bash
# Installs, once and outside the clone, what only developers need: the compiler for the L1 program and a real solana-test-validator.
# Users of the Python packages need none of it. Debian bookworm (root, or sudo without a password); about 25 minutes on two cores when nothing is there.
set -euo pipefail
tools="${POUW_TOOLS:-$HOME/.cache/pouw-tools}"
sbpf_linker_version=0.2.6
agave_version=4.1.2 # the version of the runtime inside solders' LiteSVM

packages=(rustc-web cargo-web rust-web-src llvm-22-dev libzstd-dev zlib1g-dev libpolly-22-dev
          protobuf-compiler libclang-dev clang libudev-dev libssl-dev pkg-config cmake)
missing=()
for package in "${packages[@]}"; do
  dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing+=("$package")
done
missing=($(printf '%s\n' "${missing[@]}" | grep . || true))
if [ "${#missing[@]}" -gt 0 ]; then
  sudo=(); [ "$(id -u)" -eq 0 ] || sudo=(sudo -n)
  "${sudo[@]}" apt-get update -qq
  DEBIAN_FRONTEND=noninteractive "${sudo[@]}" apt-get install -y -qq "${missing[@]}" >/dev/null
fi

has_version() { [ -x "$1" ] && "$1" --version 2>/dev/null | grep -qF "$2"; }

mkdir -p "$tools"
build_dir=$(mktemp -d)
trap 'rm -rf "$build_dir"' EXIT
if [ ! -f "$tools/.sbpf-linker-$sbpf_linker_version" ]; then
  echo "installing sbpf-linker $sbpf_linker_version (about a minute)"
  # Debian's compiler and its LLVM 22 belong together: the linker must read the bitcode that this rustc writes.
  PATH=/usr/bin:$PATH LLVM_SYS_221_PREFIX="$(llvm-config-22 --prefix)" CARGO_TARGET_DIR="$build_dir/linker" \
    cargo install "sbpf-linker@$sbpf_linker_version" --no-default-features --features bpf-linker/llvm-22 --root "$tools" --force --quiet
  touch "$tools/.sbpf-linker-$sbpf_linker_version"
fi
if ! has_version "$tools/bin/solana-test-validator" "$agave_version"; then
  echo "building solana-test-validator $agave_version from crates.io (about 20 minutes)"
  CARGO_PROFILE_DEV_OPT_LEVEL=1 CARGO_PROFILE_DEV_DEBUG=0 CARGO_INCREMENTAL=0 CARGO_TARGET_DIR="$build_dir/agave" \
    cargo install "agave-validator@$agave_version" --bin solana-test-validator --locked --features agave-unstable-api --debug \
    --root "$tools" --force --quiet
fi
echo "tools: $("$tools/bin/solana-test-validator" --version)"
