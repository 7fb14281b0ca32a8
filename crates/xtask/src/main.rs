//! Chores of the project, run as `cargo xtask NAME`.
//!
//! Whatever a chore would find wrong is also a test of this crate, so that `cargo test --workspace`
//! is the one gate and no contributor has to know these commands to keep the rules.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command speaks to its terminal")]

mod checks;
mod codegen;
mod fuzz;
mod manifest;
mod museum;
mod proof;
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

const CHORES: &[Chore] = &[
    Chore {
        name: "abuse",
        help: "slow handshakes, floods of frames and requests that want too much, while others are served",
        run: checks::abuse::run,
    },
    Chore {
        name: "blackbox",
        help: "mixed clients of a real cluster under faults, held against the checkers",
        run: checks::blackbox::run,
    },
    Chore {
        name: "codegen",
        help: "rewrite crates/proto/src/generated from crates/proto/proto",
        run: codegen::rewrite,
    },
    Chore {
        name: "come-and-go",
        help: "import what an etcd wrote, serve it, and let an etcd serve it again, all the same",
        run: checks::come_and_go::run,
    },
    Chore {
        name: "compare",
        help: "measure etcd and Quorate by turns, and write docs/performance.md",
        run: checks::compare::run,
    },
    Chore {
        name: "conformance",
        help: "let clients that others wrote drive etcd and Quorate, and compare what comes of it; needs npm and protoc",
        run: checks::conformance::run,
    },
    Chore {
        name: "crash",
        help: "kill and hold members of a real cluster under load, and count what was acknowledged",
        run: checks::crash::run,
    },
    Chore {
        name: "crash-points",
        help: "cut the power of a store at every operation, in every way; needs the right to mount (FUSE)",
        run: checks::crash_points::run,
    },
    Chore {
        name: "damage",
        help: "damage one sector of a member's files, again and again, and demand that it heals",
        run: checks::damage::run,
    },
    Chore {
        name: "differential",
        help: "give the same requests to etcd and to Quorate, and compare the answers",
        run: checks::differential::run,
    },
    Chore {
        name: "failover",
        help: "kill the leaders of Quorate and of etcd by turns, and time what a writer notices",
        run: checks::failover::run,
    },
    Chore {
        name: "full-disk",
        help: "fill the disk of a member, and win the space back by deletion alone",
        run: checks::full_disk::run,
    },
    Chore {
        name: "fuzz",
        help: "give all parsers bytes that reach what none reached before; needs a C++ compiler",
        run: fuzz::run,
    },
    Chore {
        name: "handover",
        help: "hand over the lead of Quorate and of etcd on purpose, and time what writers notice",
        run: checks::handover::run,
    },
    Chore {
        name: "kube",
        help: "do what kube-apiserver does with its store, with etcd and with Quorate, and compare",
        run: checks::kube::run,
    },
    Chore {
        name: "links",
        help: "measure what a write costs with each way of protecting the links between members",
        run: checks::links::run,
    },
    Chore {
        name: "members",
        help: "grow and shrink a real cluster under load while its members are killed, and time the pauses",
        run: checks::members::run,
    },
    Chore {
        name: "misuse",
        help: "wrong flags, bad requests and garbage on every port, and an orderly end",
        run: checks::misuse::run,
    },
    Chore {
        name: "museum",
        help: "plant every known bug in turn, and demand that the simulator or a test finds it",
        run: museum::run,
    },
    Chore {
        name: "packages",
        help: "load the machine's package database while leaders are killed, and read it back",
        run: checks::packages::run,
    },
    Chore {
        name: "partition",
        help: "five members on a network that is cut in two, and healed",
        run: checks::partition::run,
    },
    Chore {
        name: "patroni",
        help: "let Patroni keep a PostgreSQL available on a cluster, and kill the leaders of both",
        run: checks::patroni::run,
    },
    Chore {
        name: "power-cut",
        help: "cut the power of all members at once, under load; needs the right to mount (FUSE)",
        run: checks::power_cut::run,
    },
    Chore {
        name: "proof",
        help: "write docs/proof.md from the reports of what ran; --run NAME makes one",
        run: proof::run,
    },
    Chore {
        name: "relay",
        help: "pass on what arrives at one address to another, late if told to; for the black box",
        run: checks::relay::run,
    },
    Chore {
        name: "sizes",
        help: "clusters of 1, 3, 5 and 7 with a minority and with a majority down",
        run: checks::sizes::run,
    },
    Chore {
        name: "tidy",
        help: "print what breaks a rule of the architecture; `cargo test` checks the same",
        run: tidy::run,
    },
];

/// The chores that read what follows their name.
const WITH_OPTIONS: &[&str] = &[
    "blackbox",
    "crash-points",
    "damage",
    "full-disk",
    "fuzz",
    "museum",
    "power-cut",
    "proof",
    "relay",
];

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let Some((name, options)) = arguments.split_first() else {
        return usage();
    };
    if !options.is_empty() && !WITH_OPTIONS.contains(&name.as_str()) {
        return usage();
    }
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
    for chore in CHORES {
        eprintln!("  {:<10} {}", chore.name, chore.help);
    }
    ExitCode::from(2)
}
