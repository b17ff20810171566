# Sourced by the program's scripts: installs what they need and says what it does. Versions are pinned, since the bytes depend on them.
rust_version=1.96.0
llvm_major=22
linker_version=0.2.6
debian_packages=(rustc-web cargo-web rust-web-src llvm-$llvm_major-dev libpolly-$llvm_major-dev libzstd-dev zlib1g-dev gcc libc6-dev)

missing_packages() {
  local package
  for package in "${debian_packages[@]}"; do
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || printf '%s\n' "$package"
  done
}

install_debian_packages() {
  local missing as_root=()
  missing=$(missing_packages)
  [ -n "$missing" ] || return 0
  command -v apt-get > /dev/null || {
    echo "the program builds with Debian's compiler; these packages are missing here: ${missing//$'\n'/ }" >&2
    return 1
  }
  [ "$(id -u)" = 0 ] || as_root=(sudo)
  echo "installing ${missing//$'\n'/ }" >&2
  "${as_root[@]}" apt-get update -qq >&2
  # shellcheck disable=SC2086
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >&2
}

install_sbf_tools() {
  install_debian_packages
  local found
  found=$(/usr/bin/rustc --version | cut -d' ' -f2)
  [ "$found" = "$rust_version" ] || {
    echo "/usr/bin/rustc is $found; the committed program is built with Debian's $rust_version" >&2
    return 1
  }
  local linker
  linker=$("$tools/bin/sbpf-linker" --version 2>/dev/null || true)
  if [[ $linker != *" $linker_version"* ]]; then
    echo "installing sbpf-linker $linker_version into $tools" >&2
    (
      unset RUSTFLAGS CARGO_BUILD_TARGET CARGO_TARGET_DIR
      export PATH=/usr/bin:/bin RUSTC=/usr/bin/rustc LLVM_SYS_221_PREFIX LIBRARY_PATH
      LLVM_SYS_221_PREFIX=$(llvm-config-$llvm_major --prefix)
      LIBRARY_PATH=$LLVM_SYS_221_PREFIX/lib # libLLVM lies outside the C linker's search path
      cd /
      /usr/bin/cargo install --quiet --root "$tools" "sbpf-linker@$linker_version" --no-default-features --features bpf-linker/llvm-$llvm_major >&2
    )
  fi
}
