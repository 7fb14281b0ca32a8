//! Chores of the project, run as `cargo xtask NAME`.
//!
//! Whatever a chore would find wrong is also a test of this crate, so that `cargo test --workspace`
//! is the one gate and no contributor has to know these commands to keep the rules.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command speaks to its terminal")]

mod codegen;
mod manifest;
mod source;
mod tidy;
mod tree;
mod workspace;

use std::process::ExitCode;
use std::{env, io};

/// A chore: what one types, what it does, and the code.
struct Chore {
    name: &'static str,
    help: &'static str,
    run: fn() -> io::Result<()>,
}

const CHORES: [Chore; 2] = [
    Chore {
        name: "codegen",
        help: "rewrite crates/proto/src/generated from crates/proto/proto",
        run: codegen::rewrite,
    },
    Chore {
        name: "tidy",
        help: "print what breaks a rule of the architecture; `cargo test` checks the same",
        run: tidy::run,
    },
];

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [name] = arguments.as_slice() else {
        return usage();
    };
    let Some(chore) = CHORES.iter().find(|chore| chore.name == name) else {
        eprintln!("xtask: no chore is named {name:?}");
        return usage();
    };
    match (chore.run)() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask {name}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn usage() -> ExitCode {
    eprintln!("usage: cargo xtask NAME\n");
    for chore in &CHORES {
        eprintln!("  {:<10} {}", chore.name, chore.help);
    }
    ExitCode::from(2)
}
