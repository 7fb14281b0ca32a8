//! What outputs name that differs by its nature, and why it does. Everything else has to be equal.

use std::fmt::Write as _;

use crate::checks::cluster::Cluster;

/// Something in an output that can't be equal.
struct Blank {
    stands_for: &'static str,
    why: &'static str,
    /// What is written before it. It ends where its number or word ends.
    markers: &'static [&'static str],
    /// The columns of a table that have it.
    columns: &'static [&'static str],
    /// Where lines of `endpoint status` have it.
    places: &'static [usize],
}

const BLANKS: &[Blank] = &[
    Blank {
        stands_for: "TERM",
        why: "how often members had to vote is chance",
        markers: &["\"raft_term\":", "\"RaftTerm\" : ", "\"raftTerm\":", "raft_term:"],
        columns: &["RAFT TERM"],
        places: &[6],
    },
    Blank {
        stands_for: "INDEX",
        why: "the members of etcd write entries about their versions into the log, ours do not",
        markers: &[
            "\"raftIndex\":",
            "\"RaftIndex\" : ",
            "\"raftAppliedIndex\":",
            "\"RaftAppliedIndex\" : ",
        ],
        columns: &["RAFT INDEX", "RAFT APPLIED INDEX"],
        places: &[7, 8],
    },
    Blank {
        stands_for: "SIZE",
        why: "the files of another storage engine have another size",
        markers: &["\"dbSize\":", "\"DBSize\" : ", "\"dbSizeInUse\":"],
        columns: &["DB SIZE"],
        places: &[3],
    },
    Blank {
        stands_for: "VERSION",
        why: "the real etcd of this check is older than the one whose interface is served",
        markers: &["\"version\":\"", "\"Version\" : \""],
        columns: &["VERSION"],
        places: &[2],
    },
    Blank {
        stands_for: "DURATION",
        why: "how long an answer took is chance",
        markers: &["took = ", "\"took\":\"", "\"Took\" : "],
        columns: &["TOOK"],
        places: &[],
    },
    Blank {
        stands_for: "MEMBER",
        why: "which of the members answers is the choice of etcdctl's balancer",
        markers: &["\"member_id\":", "\"MemberID\" : ", "member_id:"],
        columns: &[],
        places: &[],
    },
];

/// The remaining seconds in the answer of `lease timetolive`.
const REMAINING: &[&str] = &["remaining(", "\"ttl\":", "\"TTL\" : "];

/// As many digits as no number has that both clusters agree on.
const ID_DIGITS: usize = 13;

/// Prints what is blanked, and why.
pub(super) fn explain() {
    for Blank { stands_for, why, .. } in BLANKS {
        println!("etcdctl: not compared: {stands_for}, because {why}");
    }
    println!("etcdctl: not compared: remaining seconds of a lease, because time goes by");
    println!(
        "etcdctl: not compared: ids of leases that the server chose, and the keys of locks and \
         elections made of them, because it draws them by lot"
    );
    println!(
        "etcdctl: compared by rank: ids, names and addresses of members, because they follow from \
         their ports; with them the widths of a table"
    );
    println!("etcdctl: compared in any order: lines of `endpoint health`, which asks all at once");
}

/// What a cluster calls itself, and what both clusters are called here.
pub(super) struct Names {
    /// Longer words first, so that none is taken for the beginning of another.
    words: Vec<(String, String)>,
    ids: Vec<u64>,
    pub(super) cluster_id: u64,
}

impl Names {
    /// Of a cluster whose members have these ids, in the order of the list.
    pub(super) fn new(cluster: &Cluster, order: &[usize], cluster_id: u64, ids: &[u64]) -> Self {
        let mut words = vec![
            (cluster_id.to_string(), "CLUSTER".to_owned()),
            (format!("{cluster_id:x}"), "CLUSTER".to_owned()),
        ];
        for (rank, (&member, id)) in order.iter().zip(ids).enumerate() {
            let (host, port) = cluster.peer_address(member);
            words.extend([
                (id.to_string(), format!("ID{rank}")),
                (format!("{id:x}"), format!("ID{rank}")),
                (cluster.endpoint(member).replace("http://", ""), format!("CLIENTS{rank}")),
                (format!("{host}:{port}"), format!("PEERS{rank}")),
            ]);
            // The name is so short that it may be part of anything, so its surroundings count.
            let name = cluster.name(member);
            for (before, behind) in [("\"", "\""), (", ", ", "), ("|", "|")] {
                let called = format!("{before}NAME{rank}{behind}");
                words.push((format!("{before}{name}{behind}"), called));
            }
        }
        words.sort_by_key(|(word, _)| std::cmp::Reverse(word.len()));
        Self { words, ids: ids.to_vec(), cluster_id }
    }

    /// Puts this cluster's names into a command line, which calls the ids `ID0`, `ID1` and so on.
    pub(super) fn in_line(&self, line: &str) -> String {
        self.ids.iter().enumerate().fold(line.to_owned(), |line, (rank, id)| {
            line.replace(&format!("ID{rank}"), &format!("{id:x}"))
        })
    }
}

/// An output of the command `line` as it is compared.
pub(super) fn blank(line: &str, text: &str, names: &Names) -> String {
    let mut text = columns(text);
    for (word, name) in &names.words {
        text = text.replace(word, name);
    }
    for Blank { stands_for, markers, .. } in BLANKS {
        text = after(text, markers, stands_for);
    }
    if line.starts_with("lease timetolive") {
        text = after_number(text, REMAINING, "SECONDS");
    }
    if line.starts_with("lock") || line.starts_with("elect") {
        // The id of a lease is part of the key, which JSON has in base64.
        text = after(text, &["\"key\":\""], "KEY");
    }
    text = ids(&text);
    if line.starts_with("endpoint status") {
        text = places(&text);
    }
    if line.starts_with("endpoint health") {
        // The records of a list become lines as well.
        let records = text.replace("},{", "}\n{");
        let mut lines: Vec<&str> =
            records.lines().map(|line| line.trim_matches(['[', ']'])).collect();
        lines.sort_unstable();
        text = lines.join("\n");
    }
    text
}

/// Replaces what follows the markers, up to the end of the number or word.
fn after(text: String, markers: &[&str], name: &str) -> String {
    let ends = |letter: char| matches!(letter, ',' | '"' | '}' | '\n' | ' ');
    replace(text, markers, |rest| rest.find(ends).unwrap_or(rest.len()), name)
}

/// Replaces what follows the markers, if that is a number that is not negative.
fn after_number(text: String, markers: &[&str], name: &str) -> String {
    let digits =
        |rest: &str| rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    replace(text, markers, digits, name)
}

fn replace(
    mut text: String,
    markers: &[&str],
    length: impl Fn(&str) -> usize,
    name: &str,
) -> String {
    for marker in markers {
        let mut from = 0;
        while let Some(at) = text[from..].find(marker) {
            let start = from + at + marker.len();
            let length = length(&text[start..]);
            if length > 0 {
                text.replace_range(start..start + length, name);
            }
            from = start;
        }
    }
    text
}

/// Replaces every number, in either base, that is as long as only an id is.
fn ids(text: &str) -> String {
    let mut blanked = String::with_capacity(text.len());
    let mut run = String::new();
    for letter in text.chars().map(Some).chain([None]) {
        if let Some(letter) = letter.filter(char::is_ascii_hexdigit) {
            run.push(letter);
            continue;
        }
        blanked.push_str(if run.len() >= ID_DIGITS { "ID" } else { &run });
        run.clear();
        blanked.extend(letter);
    }
    blanked
}

/// Blanks the lines of the simple form of `endpoint status`.
fn places(text: &str) -> String {
    let mut blanked = String::new();
    for line in text.lines() {
        let mut words: Vec<&str> = line.split(", ").collect();
        if words.len() >= 9 {
            for Blank { stands_for, places, .. } in BLANKS {
                places.iter().for_each(|&place| words[place] = stands_for);
            }
        }
        let _ = writeln!(blanked, "{}", words.join(", "));
    }
    blanked
}

/// Blanks columns of tables, and makes all as narrow as what they hold.
fn columns(text: &str) -> String {
    let mut blanked = String::new();
    let mut heads: Vec<&str> = Vec::new();
    for line in text.lines() {
        if line.starts_with("+-") {
            continue;
        }
        let Some(row) = line.strip_prefix('|') else {
            let _ = writeln!(blanked, "{line}");
            continue;
        };
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        if heads.is_empty() {
            heads.clone_from(&cells);
        } else {
            for (at, cell) in cells.iter().enumerate() {
                let head = heads.get(at).copied().unwrap_or_default();
                let blank = BLANKS.iter().find(|blank| blank.columns.contains(&head));
                let _ = write!(blanked, "{}|", blank.map_or(*cell, |blank| blank.stands_for));
            }
            blanked.push('\n');
            continue;
        }
        let _ = writeln!(blanked, "{}", cells.join("|"));
    }
    blanked
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        let words = vec![
            ("127.0.0.1:45001".to_owned(), "CLIENTS0".to_owned()),
            ("8e9e05c52164694d".to_owned(), "ID0".to_owned()),
        ];
        Names { words, ids: vec![0x8e9e_05c5_2164_694d], cluster_id: 1 }
    }

    #[test]
    fn what_names_a_cluster_or_a_moment_is_blanked() {
        let of = |line, text| blank(line, text, &names());
        assert_eq!(
            of(
                "endpoint status",
                "127.0.0.1:45001, 8e9e05c52164694d, 3.5.1, 20 kB, true, false, 2, 8, 9, "
            ),
            "CLIENTS0, ID0, VERSION, SIZE, true, false, TERM, INDEX, INDEX, \n"
        );
        assert_eq!(
            of("put a 1", "{\"revision\":3,\"raft_term\":12}"),
            "{\"revision\":3,\"raft_term\":TERM}\n"
        );
        assert_eq!(
            of("endpoint health", "+--+\n| HEALTH | TOOK |\n+--+\n|   true | 1ms |\n+--+"),
            "HEALTH|TOOK|\ntrue|DURATION||"
        );
        assert_eq!(of("lease grant 60", "lease 694da208a7973e09 granted"), "lease ID granted\n");
    }

    #[test]
    fn everything_else_stays() {
        for text in ["OK\n", "\"version\":4,\"lease\":127\n", "hash 4294967295\n", "a | b\n"] {
            assert_eq!(blank("get a", text, &names()), text);
        }
        let (granted, expired) = ("granted with TTL(500s), remaining(499s)\n", "\"ttl\":-1\n");
        assert_eq!(blank("lease grant 500", granted, &names()), granted);
        assert_eq!(blank("lease timetolive 7f", expired, &names()), expired);
        assert_eq!(
            blank("lease timetolive 7f", granted, &names()),
            "granted with TTL(500s), remaining(SECONDSs)\n"
        );
    }
}
