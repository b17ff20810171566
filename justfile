# Recipes for those who work on the project; `just` comes with the environment: ./run just --list

# Build the settlement program, for example: just program-build --id BASE58 -o settlement.so
program-build *ARGS:
    scripts/program_build.sh {{ARGS}}

# Rebuild the program and the IDL from scratch, twice, and fail unless they equal the committed files; attack it without its protections, upgrade it
program-check:
    scripts/program_check.sh

# Write the IDL that the source gives
program-idl *ARGS:
    python3 scripts/program_idl.py {{ARGS}}

# The program's native Rust tests
program-test:
    cd programs/settlement && CARGO_TARGET_DIR="{{justfile_directory()}}/target/native" cargo test --locked

# Random steps of the ledger through Python and Rust, for example: just ledger-differential 7 20000
ledger-differential SEED="1" COUNT="2000":
    #!/usr/bin/env bash
    set -euo pipefail
    steps=$(mktemp)
    trap 'rm -f "$steps"' EXIT
    python -m scripts.transition_vectors {{SEED}} {{COUNT}} "$steps"
    cd programs/settlement
    CARGO_TARGET_DIR="{{justfile_directory()}}/target/native" POUW_TRANSITION_VECTORS="$steps" \
      cargo test --quiet --locked --test transition further_steps

# Lint, format check, types, import arrows
lint:
    ruff check .
    ruff format --check .
    mypy
    lint-imports

# Format the Python code
format:
    ruff check --fix .
    ruff format .

# Resolve the dependencies of pyproject.toml into the hashed lock
lock:
    uv pip compile --quiet --universal --generate-hashes --python-version 3.11 --extra worker --extra dev --no-emit-index-url --custom-compile-command "just lock" pyproject.toml -o requirements.lock

# Install the Rust tool chain and solana-test-validator (Debian)
tools:
    scripts/install_tools.sh

# All that CI does
ci:
    .ci/run
