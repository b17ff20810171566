#!/usr/bin/env bash
# Runs a local Solana with the settlement program loaded: solana-test-validator when it is installed (on the PATH or in
# ${POUW_TOOLS:-~/.cache/pouw-tools}/bin), the embedded localnet otherwise. Everything else works the same against either.
#   ./localnet.sh [--embedded] [--ledger DIR] [FLAG ...]      FLAGs go to the one that runs (--reset, --rpc-port PORT, ...)
# The program's upgrade authority, who alone may initialize it, is DIR/upgrade-authority.json, made on first use.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
tools=${POUW_TOOLS:-$HOME/.cache/pouw-tools}/bin

usage() { sed -n '2,5s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; }

embedded=false
ledger=ledger
flags=()
while [ $# -gt 0 ]; do
  case $1 in
    --embedded) embedded=true ;;
    --ledger | -l)
      [ $# -ge 2 ] || { echo "localnet.sh: $1 needs a folder" >&2; exit 2; }
      ledger=$2
      shift ;;
    --ledger=*) ledger=${1#--ledger=} ;;
    --help | -h) usage; exit 0 ;;
    *) flags+=("$1") ;;
  esac
  shift
done

program=$root/settlement/artifacts/settlement.so
idl=$root/settlement/artifacts/settlement.json
for file in "$program" "$idl"; do
  [ -f "$file" ] || { echo "localnet.sh: $file is missing; it is committed with the repository (or: just program-build)" >&2; exit 1; }
done
program_id=$("$root/run" python -c '
import json, sys
from solders.pubkey import Pubkey
try:
    print(Pubkey.from_string(json.load(open(sys.argv[1]))["address"]))
except (KeyError, TypeError, ValueError) as error:
    sys.exit(f"localnet.sh: {sys.argv[1]} states no program address: {error!r}")
' "$idl")
mkdir -p "$ledger"
ledger=$(cd "$ledger" && pwd)
authority=$ledger/upgrade-authority.json
cd "$root" # ./run python -m needs the packages of this checkout
"$root/run" python -m localnet.keys ensure "$authority" > /dev/null

validator=
if ! $embedded; then
  validator=$(command -v solana-test-validator || true)
  [ -n "$validator" ] || { [ -x "$tools/solana-test-validator" ] && validator=$tools/solana-test-validator; } || true
fi
common=(--upgradeable-program "$program_id" "$program" "$authority" --bind-address 127.0.0.1)
loudness=--quiet # either kind refuses it beside --log, and the real one refuses it twice
for flag in ${flags[@]+"${flags[@]}"}; do
  case $flag in --log | --quiet | -q) loudness= ;; esac
done
[ -z "$loudness" ] || common+=("$loudness")
if [ -n "$validator" ]; then
  echo "localnet.sh: solana-test-validator, program $program_id, authority $authority" >&2
  # Its --reset empties the whole ledger folder, so it gets one of its own beside the key.
  exec "$validator" "${common[@]}" --ledger "$ledger/test-validator" ${flags[@]+"${flags[@]}"}
fi
echo "localnet.sh: embedded localnet, program $program_id, authority $authority" >&2
exec "$root/run" python -m localnet "${common[@]}" --ledger "$ledger/embedded" ${flags[@]+"${flags[@]}"}
