#!/usr/bin/env bash
# Builds the settlement program for Solana without the Solana toolchain: Debian's rustc (whose LLVM is 22), its rust-src, and sbpf-linker.
#
#   scripts/program_build.sh [--id BASE58] [--features LIST] [-o FILE]
#
# --id        the program id that the file is for (default: POUW_PROGRAM_ID, else the localnet id)
# --features  cargo features, for the benchmark's cu-log build only
# -o          where the .so goes (default: settlement/artifacts/settlement.so)
#
# Installs what lacks: Debian packages, and sbpf-linker into ${POUW_TOOLS:-$HOME/.cache/pouw-tools}. POUW_BUILD_DIR is the target folder.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
crate=$root/programs/settlement
tools=${POUW_TOOLS:-$HOME/.cache/pouw-tools}
build=${POUW_BUILD_DIR:-$root/target/sbf}
output=$root/settlement/artifacts/settlement.so
id=${POUW_PROGRAM_ID:-}
features=

while [ $# -gt 0 ]; do
  case $1 in
    --id) id=${2:?--id needs a base58 program id}; shift 2 ;;
    --features) features=${2:?--features needs a list}; shift 2 ;;
    -o) output=${2:?-o needs a file}; shift 2 ;;
    *) echo "program_build.sh: unknown argument $1 (known: --id BASE58, --features LIST, -o FILE)" >&2; exit 2 ;;
  esac
done

# The build runs from another folder.
output=$(realpath -m -- "$output") build=$(realpath -m -- "$build")

# shellcheck source=scripts/program_tools.sh
source "$root/scripts/program_tools.sh"
install_sbf_tools

# rustup's RUSTFLAGS, wrappers and toolchain files of the caller must not reach this build.
unset RUSTFLAGS CARGO_ENCODED_RUSTFLAGS CARGO_BUILD_RUSTFLAGS CARGO_BUILD_TARGET RUSTC_WRAPPER RUSTUP_TOOLCHAIN CARGO_TARGET_DIR
export PATH=$tools/bin:/usr/bin:/bin RUSTC=/usr/bin/rustc
export RUSTC_BOOTSTRAP=1 RUSTC_BOOTSTRAP_SYNTHETIC_TARGET=1
if [ -n "$id" ]; then export POUW_PROGRAM_ID=$id; fi

cargo_home=${CARGO_HOME:-$HOME/.cargo}
sysroot=$(/usr/bin/rustc --print sysroot)
remap() { printf '"--remap-path-prefix=%s=%s"' "$1" "$2"; }

# From / so that no cargo configuration of a parent folder is merged in: doubled linker arguments are refused.
cd /
/usr/bin/cargo rustc --release --locked --lib --crate-type cdylib --quiet \
  --manifest-path "$crate/Cargo.toml" --target "$crate/sbf/target.json" --target-dir "$build" \
  --config "$crate/sbf/config.toml" \
  --config "build.rustflags=[$(remap "$crate" /program), $(remap "$cargo_home" /cargo), $(remap "$sysroot" /rust), $(remap "$build" /build)]" \
  ${features:+--features "$features"}

mkdir -p "$(dirname "$output")"
install -m 0644 "$build/target/release/libsettlement.so" "$output"
echo "$output: $(stat -c %s "$output") bytes, sha256 $(sha256sum "$output" | cut -d' ' -f1)"
