//! What is typed: every command and flag of etcdctl that this server is about. Later steps build on
//! earlier ones, and revisions count from 1.

/// A command, and what happens to it.
pub(super) struct Step {
    /// The words behind the flags that all commands get; `''` is an empty one, `ID0` the id of the
    /// member that is first in the list.
    pub(super) line: &'static str,
    /// What it reads, if there are no acts.
    pub(super) input: &'static str,
    /// What happens while it runs, in this order.
    pub(super) acts: &'static [Act],
}

/// What happens while a command runs. An act that waits is also over when the command has ended.
#[derive(Debug)]
pub(super) enum Act {
    /// The command reads a line.
    Type(&'static str),
    /// Another command is run to its end, in the simple format.
    Run(&'static str),
    /// The members have so many watchers.
    Watchers(i64),
    /// The command has printed so many events.
    Events(usize),
    /// The command has printed something, and this is part of it.
    Output(&'static str),
    /// The command gets a SIGINT, once it does not print any more.
    Interrupt,
}

use Act::{Events, Interrupt, Output, Run, Type, Watchers};

const fn step(line: &'static str) -> Step {
    Step { line, input: "", acts: &[] }
}

const fn reads(line: &'static str, input: &'static str) -> Step {
    Step { line, input, acts: &[] }
}

const fn lives(line: &'static str, acts: &'static [Act]) -> Step {
    Step { line, input: "", acts }
}

/// The leases that there are at the beginning: their ids and seconds.
pub(super) const LEASES: [(i64, i64); 1] = [(0x7f, 500)];

pub(super) const STEPS: &[Step] = &[
    // Put.
    step("put a 1"),
    step("put a 2 --prev-kv"),
    step("put ab 3"),
    reads("put from-stdin", "typed"),
    step("put a --ignore-value"),
    step("put missing --ignore-value"),
    step("put missing x --ignore-lease"),
    step("put a x --ignore-value"),
    step("put '' x"),
    step("put b x --lease 80"),
    step("put b x --lease 7f"),
    step("put b y --ignore-lease --prev-kv"),
    step("put c 1"),
    step("put c 2"),
    // Get.
    step("get a"),
    step("get a z"),
    step("get z a"),
    step("get a --hex"),
    step("get a --prefix --limit 1"),
    step("get a --prefix --keys-only"),
    step("get a --prefix --keys-only --hex"),
    step("get a --prefix --count-only"),
    step("get a --prefix --print-value-only"),
    step("get '' --prefix"),
    step("get '' --from-key --limit 2"),
    step("get ab --from-key"),
    step("get a --from-key --order DESCEND --sort-by KEY"),
    step("get a --from-key --order ASCEND --sort-by CREATE"),
    step("get a --from-key --order DESCEND --sort-by MODIFY --limit 3"),
    step("get a --from-key --sort-by MODIFY"),
    step("get a c --order DESCEND --sort-by VALUE"),
    step("get b d --order DESCEND --sort-by VERSION"),
    step("get a --prefix --from-key"),
    step("get a --order UPWARDS"),
    step("get a --rev 2"),
    step("get a --from-key --rev 4 --count-only"),
    step("get a --rev 100000"),
    step("get a --consistency s"),
    step("get a --consistency=l"),
    step("get a --consistency x"),
    step("get none"),
    step("get ''"),
    // Lease.
    step("lease list"),
    step("lease timetolive 7f"),
    step("lease timetolive 7f --keys"),
    step("lease timetolive 1234 --keys"),
    step("lease keep-alive --once 7f"),
    step("lease keep-alive --once 1234"),
    lives("lease keep-alive 7f", &[Output(""), Interrupt]),
    step("lease revoke 1234"),
    step("lease revoke 7f"),
    step("lease revoke 7f"),
    step("lease timetolive 7f"),
    step("get b"),
    step("lease list"),
    step("lease grant 60"),
    step("lease grant 0"),
    step("lease grant 9000000001"),
    step("lease grant soon"),
    // Del.
    step("del ab --prev-kv"),
    step("del none"),
    step("del none --prev-kv"),
    step("del ''"),
    step("del a z --prev-kv"),
    step("put d/1 x"),
    step("put d/2 y"),
    step("put d/3 z"),
    step("del d/2 --from-key --prev-kv"),
    step("del d/ --prefix"),
    // Txn.
    step("put k v"),
    reads(
        "txn",
        "value(\"k\") = \"v\"\nmod(\"k\") > \"1\"\n\nput k w\nget k\ndel other\n\nget k\n\n",
    ),
    reads("txn", "create(\"k\") = \"0\"\n\nput k v\n\nget k\nput z z\n\n"),
    reads("txn", "version(\"k\") < \"3\"\n\ndel k --prev-kv\n\n\n"),
    reads("txn", "value(\"k\") != \"w\"\n\n\nget none\nget k --rev 2\n\n"),
    reads("txn", "\nput d 1\nput d 2\n\n\n"),
    reads("txn", "\nput d 1 --lease 80\n\n\n"),
    reads("txn", "\nput '' 1\n\n\n"),
    // With `put d 1` in it as well, the member of etcd 3.5.1 that is asked would refuse it and the
    // others would carry it out: they leave out what is only read, and with it the mistake.
    reads("txn", "\nget d --rev 100000\n\n\n"),
    reads("txn", "colour(\"k\") = \"red\"\n\n\n\n"),
    reads("txn", "\nfetch k\n\n\n"),
    // Watch: live, from the past, one key, a prefix, a range.
    step("put w/1 a"),
    lives(
        "watch w/1",
        &[Watchers(1), Run("put w/1 b"), Run("put w/2 x"), Run("del w/1"), Events(2), Interrupt],
    ),
    lives(
        "watch w/ --prefix --prev-kv",
        &[
            Watchers(1),
            Run("put w/1 c"),
            Run("put w/1 d"),
            Run("del w --prefix"),
            Events(4),
            Interrupt,
        ],
    ),
    lives("watch w/ --prefix --rev 2", &[Events(8), Interrupt]),
    lives("watch w/ --prefix --rev 2 --prev-kv", &[Events(8), Interrupt]),
    lives("watch w/1 w/2 --rev 2", &[Events(6), Interrupt]),
    lives("watch w/ --prefix --hex --rev 2", &[Events(8), Interrupt]),
    lives(
        "watch x -- printenv ETCD_WATCH_KEY",
        &[Watchers(1), Run("put x 1"), Output("\"x\""), Interrupt],
    ),
    lives(
        "watch -i",
        &[
            Type("watch w/3"),
            Watchers(1),
            Type("progress"),
            Output("progress notify"),
            Run("put w/3 e"),
            Events(1),
            Type("watch --rev 2 w/2"),
            Watchers(2),
            Events(3),
            Type("stare w/3"),
        ],
    ),
    lives("watch -i", &[Type("watch")]),
    step("endpoint hashkv"),
    step("endpoint hashkv --rev 7"),
    // Compaction.
    step("compaction 4"),
    step("compaction 4"),
    step("compaction 100000"),
    step("compaction 5 --physical"),
    step("get k --rev 2"),
    step("watch w/ --prefix --rev 2"),
    lives("watch w/ --prefix --rev 5", &[Events(9), Interrupt]),
    reads("txn", "\nget k --rev 2\n\n\n"),
    // The members.
    step("member list"),
    step("endpoint health"),
    step("endpoint status"),
    step("endpoint hashkv"),
    step("endpoint hashkv --rev 7"),
    step("alarm list"),
    step("alarm disarm"),
    step("move-leader 1"),
    step("move-leader ID1"),
    step("endpoint status"),
    // What is made of the above by the client. Keys of leases that are chosen by lot come last, since
    // the hash is of them too.
    step("lock l echo held"),
    step("put l/1 somebody"),
    lives("lock l", &[Watchers(1), Run("del l/1"), Output(""), Interrupt]),
    step("get l --prefix"),
    step("put e/1 somebody"),
    lives("elect -l e", &[Output(""), Watchers(1), Interrupt]),
    lives("elect e me", &[Watchers(1), Run("del e/1"), Output(""), Interrupt]),
    step("get e --prefix"),
];
