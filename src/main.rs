//! The command `purify`.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args_os().collect();
    #[cfg(feature = "train")]
    if args.iter().skip(1).any(|arg| arg == "train") {
        keep_freed_memory();
    }
    ExitCode::from(purify::cli::run(args).code())
}

/// A training step frees and takes the same gigabytes over and over: given back to the system in between, a quarter of
/// the time goes into clearing their pages anew (measured on a 30M-parameter model).
#[cfg(feature = "train")]
fn keep_freed_memory() {
    /// Its place in mimalloc's `mi_option_t`, which the bindings don't name.
    const PURGE_DELAY: std::ffi::c_int = 15;
    // SAFETY: called once, before any other thread is started, as the function asks for.
    unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, -1) }
}
