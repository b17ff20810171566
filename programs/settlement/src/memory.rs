//! The memory functions that the compiler calls, each one a syscall: sbpf-linker links no C library. Solana's own tool chain brings its
//! own, so only the build of scripts/program_build.sh has these (`--cfg debian_sbf`).

use solana_define_syscall::definitions::{sol_memcmp_, sol_memcpy_, sol_memmove_, sol_memset_};

/// # Safety
/// As C's memcpy.
#[no_mangle]
pub unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, bytes: usize) -> *mut u8 {
    sol_memcpy_(to, from, bytes as u64);
    to
}

/// # Safety
/// As C's memmove.
#[no_mangle]
pub unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, bytes: usize) -> *mut u8 {
    sol_memmove_(to, from, bytes as u64);
    to
}

/// # Safety
/// As C's memset.
#[no_mangle]
pub unsafe extern "C" fn memset(to: *mut u8, value: i32, bytes: usize) -> *mut u8 {
    sol_memset_(to, value as u8, bytes as u64);
    to
}

/// # Safety
/// As C's memcmp.
#[no_mangle]
pub unsafe extern "C" fn memcmp(left: *const u8, right: *const u8, bytes: usize) -> i32 {
    let mut result = 0i32;
    sol_memcmp_(left, right, bytes as u64, &mut result);
    result
}
