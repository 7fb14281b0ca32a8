//! Runs one session of etcdctl against a real etcd and against Quorate, in every output format, and
//! compares what it prints and how it ends.
//!
//! `CHECK_ETCDCTL` names the programs, separated by colons; `.ci/run` names those of etcd 3.4 and 3.5. What
//! names a cluster or a moment (ids, terms, sizes, how long something took) is blanked on both sides.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::{env, io};

use crate::checks::cluster::{Cluster, Program};
use crate::checks::crash::wait_for_leader;

/// A command line, what it reads, and whether its output names moments only (then only its success
/// and the number of its lines are compared).
struct Step {
    line: &'static str,
    input: &'static str,
    opaque: bool,
}

const fn step(line: &'static str) -> Step {
    Step { line, input: "", opaque: false }
}

/// How endpoints may begin. With the scheme, etcdctl 3.4 calls the server by the whole URL.
const SCHEMES: [&str; 2] = ["", "http://"];

const FORMATS: [&str; 5] = ["simple", "json", "fields", "table", "protobuf"];

/// The session. Later steps build on earlier ones.
const STEPS: &[Step] = &[
    step("put a 1"),
    step("put a 2 --prev-kv"),
    step("put ab 3"),
    Step { line: "put from-stdin", input: "typed", opaque: false },
    step("put a --ignore-value"),
    step("put missing --ignore-value"),
    step("put b x --lease 7f"),
    step("get a"),
    step("get a z"),
    step("get a --prefix --limit 1"),
    step("get a --prefix --keys-only"),
    step("get a --prefix --print-value-only"),
    step("get a --from-key --order DESCEND --sort-by KEY"),
    step("get a --rev 2"),
    step("get a --rev 100000"),
    step("get a --consistency s"),
    step("get none"),
    step("get ''"),
    step("del ab --prev-kv"),
    step("del none"),
    step("del a z"),
    step("put k v"),
    Step {
        line: "txn",
        input: "value(\"k\") = \"v\"\nmod(\"k\") > \"1\"\n\nput k w\nget k\ndel other\n\nget k\n\n",
        opaque: false,
    },
    Step {
        line: "txn",
        input: "create(\"k\") = \"0\"\n\nput k v\n\nget k\nput z z\n\n",
        opaque: false,
    },
    Step { line: "txn", input: "\nput d 1\nput d 2\n\n\n", opaque: false },
    step("compaction 4"),
    step("compaction 4"),
    step("compaction 100000"),
    step("compaction 5 --physical"),
    step("get k --rev 2"),
    step("lease revoke 1234"),
    step("lease timetolive 1234 --keys"),
    step("lease keep-alive --once 1234"),
    step("lease list"),
    Step { line: "endpoint health", input: "", opaque: true },
    Step { line: "endpoint status", input: "", opaque: true },
    Step { line: "endpoint hashkv", input: "", opaque: true },
    Step { line: "member list", input: "", opaque: true },
    step("move-leader 1"),
];

/// Runs the session with every program and format.
pub(crate) fn run() -> io::Result<()> {
    let programs = env::var("CHECK_ETCDCTL").unwrap_or_else(|_| "etcdctl".to_owned());
    let quorate = Program::quorate()?;
    let runtime = tokio::runtime::Runtime::new()?;
    let (mut same, mut different) = (0, 0);
    for program in programs.split(':').map(PathBuf::from) {
        for (scheme, format) in sessions() {
            // A cluster for each session, so that revisions begin anew.
            let flags = ["--log-level", "error"];
            let etcd = Cluster::start(Program::etcd(), 3, &flags)?;
            let ours = Cluster::start(quorate.clone(), 3, &flags)?;
            runtime.block_on(async {
                wait_for_leader(&etcd).await?;
                wait_for_leader(&ours).await
            })?;
            for step in STEPS {
                let theirs = execute(&program, scheme, format, step, &etcd)?;
                let own = execute(&program, scheme, format, step, &ours)?;
                if theirs == own {
                    same += 1;
                } else {
                    different += 1;
                    println!(
                        "etcdctl: {} --endpoints {scheme}… -w {format} {}\n\
                         --- etcd\n{theirs}\n--- quorate\n{own}\n",
                        program.display(),
                        step.line,
                    );
                }
            }
        }
    }
    println!("etcdctl: {same} commands print the same, {different} do not");
    if different == 0 { Ok(()) } else { Err(io::Error::other("etcdctl can tell the difference")) }
}

/// Every scheme with every format.
fn sessions() -> impl Iterator<Item = (&'static str, &'static str)> {
    SCHEMES.into_iter().flat_map(|scheme| FORMATS.map(|format| (scheme, format)))
}

/// What a command printed and how it ended, without what names a cluster or a moment.
fn execute(
    program: &PathBuf,
    scheme: &str,
    format: &str,
    step: &Step,
    cluster: &Cluster,
) -> io::Result<String> {
    let endpoints = cluster.endpoints().join(",").replace("http://", scheme);
    let words = step.line.split(' ').map(|word| if word == "''" { "" } else { word });
    let mut process = Command::new(program)
        .env("ETCDCTL_API", "3")
        .args(["--endpoints", &endpoints, "-w", format])
        .args(["--command-timeout", "10s"])
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut input = process.stdin.take().expect("it was asked for");
    input.write_all(step.input.as_bytes())?;
    drop(input);
    let output = process.wait_with_output()?;
    let code = output.status.code();
    if step.opaque {
        let lines = output.stdout.iter().filter(|&&byte| byte == b'\n').count();
        // The protobuf form has no lines, and its length is that of the ids.
        let lines = if format == "protobuf" { 0 } else { lines };
        return Ok(format!("code {code:?}, {lines} lines"));
    }
    let text = |bytes: &[u8]| blank(&String::from_utf8_lossy(bytes));
    // The last line is the error; the ones before are the client's own log of its attempts.
    let error = text(&output.stderr);
    let error = error.lines().last().unwrap_or_default();
    let printed = match format {
        "protobuf" => format!("{} bytes or so", output.stdout.len() / 64),
        _ => text(&output.stdout),
    };
    Ok(format!("code {code:?}\n{printed}\nerror: {error}"))
}

/// Blanks every number of ten digits and more, the term, and the addresses of the cluster.
fn blank(text: &str) -> String {
    let mut blanked = String::with_capacity(text.len());
    let mut run = String::new();
    for letter in text.chars().chain(['\0']) {
        if letter.is_ascii_hexdigit() {
            run.push(letter);
            continue;
        }
        blanked.push_str(if run.len() >= 10 { "N" } else { &run });
        run.clear();
        if letter != '\0' {
            blanked.push(letter);
        }
    }
    for term in ["\"raft_term\":", "\"RaftTerm\" : "] {
        while let Some(at) = blanked.find(term) {
            let end = at + term.len();
            let digits = blanked[end..].chars().take_while(char::is_ascii_digit).count();
            blanked.replace_range(at..end + digits, "TERM");
        }
    }
    blanked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_names_a_cluster_is_blanked_and_nothing_else() {
        assert_eq!(blank("a1 12345678901 x 0123abcdef9"), "a1 N x N");
        assert_eq!(blank("{\"raft_term\":12,\"revision\":3}"), "{TERM,\"revision\":3}");
    }
}
