//! The fuzzer: libFuzzer around the target that `QUORATE_FUZZ_TARGET` names.
//!
//! One program for all targets, so that it is linked once.
#![no_main]

use std::alloc::System;
use std::env;
use std::sync::LazyLock;

use cap::Cap;
use libfuzzer_sys::fuzz_target;
use quorate_fuzz::{TARGETS, Target, within};

#[global_allocator]
static MEMORY: Cap<System> = Cap::new(System, usize::MAX);

static TARGET: LazyLock<&Target> = LazyLock::new(|| {
    let name = env::var("QUORATE_FUZZ_TARGET").unwrap_or_default();
    let target = TARGETS.iter().find(|target| target.name == name);
    target.unwrap_or_else(|| panic!("QUORATE_FUZZ_TARGET names no target: {name:?}"))
});

fuzz_target!(init: (TARGET.run)(&[]), |input: &[u8]| within(&MEMORY, || (TARGET.run)(input)));
