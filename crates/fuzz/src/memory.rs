//! The memory that one input may take.

use std::alloc::System;

use cap::Cap;

/// What one input may have allocated at a time, in bytes. Inputs are some kilobytes, so whoever needs that much believed
/// a number in them.
pub const MEMORY_BYTES_MAX: usize = 64 << 20;

/// Runs this and lets it have no more memory than that: an allocation beyond it fails, and the process ends.
///
/// # Panics
/// If the limit can't be set, which needs another thread that allocates meanwhile.
pub fn within<T>(memory: &Cap<System>, run: impl FnOnce() -> T) -> T {
    memory.set_limit(memory.allocated() + MEMORY_BYTES_MAX).expect("a limit above what is taken");
    let outcome = run();
    memory.set_limit(usize::MAX).expect("no limit");
    outcome
}
