//! The scripts in `tests/scripts`: what a user does, and what he gets. Run with
//! `UPDATE_GOLDENFILES=1` to write the answers anew, then read the difference.

mod parse;
mod print;

use std::error::Error as StdError;
use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use goldenscript::{Command as Line, Context};
use parse::Arguments;
use quorate_mvcc::engine::Table;
use quorate_mvcc::mem::{MemEngine, all_rows};
use quorate_mvcc::watch::{WatchCreateRequest, WatchLimits, WatchRing, WatchStream};
use quorate_mvcc::{
    Caller, Command, MemberAttributes, Refounding, RequestOp, Response, Store, TxnRequest,
};
use quorate_node::{Machine, Piece};
use quorate_raft::{EntryId, Membership, NodeId};

type Answer = Result<String, Box<dyn StdError>>;

/// One store, and one client's stream of watches.
struct Runner {
    store: Store,
    ring: WatchRing,
    stream: WatchStream,
    limits: WatchLimits,
    term: u64,
    /// Who wants what the script says.
    caller: Caller,
}

fn empty_store() -> Store {
    Store::open(Box::new(MemEngine::new())).expect("an empty engine opens")
}

impl Runner {
    fn new() -> Self {
        let store = empty_store();
        let ring = WatchRing::new(1 << 20, store.read_state());
        let limits = WatchLimits {
            fragment_bytes: 1 << 20,
            advance_bytes: 1 << 20,
            revision_bytes: 1 << 30,
        };
        Self {
            store,
            ring,
            stream: WatchStream::new(limits),
            limits,
            term: 1,
            caller: Caller::Nobody,
        }
    }

    /// Applies and commits one command, and lets the ring hear of it.
    fn apply(&mut self, command: &Command) -> Answer {
        let entry = EntryId::new(self.term, self.store.applied().index.0 + 1);
        let outcome = self.store.apply(entry, &command.encode_for(&self.caller))?;
        self.store.commit(entry)?;
        self.ring.publish(self.store.take_events(), self.store.read_state());
        let issued = self.store.take_issued();
        let issued: String = issued.iter().map(|issued| format!("{issued:?}\n")).collect();
        match outcome.result {
            Err(error) => Err(format!("{error:?}, at revision {}", outcome.revision).into()),
            Ok(response) => Ok(print::response(&response, outcome.revision) + &issued),
        }
    }

    /// The members of the cluster are these from now on.
    fn change(&mut self, now: &Membership) -> Answer {
        let entry = EntryId::new(self.term, self.store.applied().index.0 + 1);
        self.store.set_membership(entry, &now.encode().into())?;
        self.store.commit(entry)?;
        Ok(String::new())
    }

    /// What a server does with a transaction.
    fn txn(&mut self, txn: TxnRequest) -> Answer {
        check(&txn, 128)?;
        if !txn.is_read_only() {
            return self.apply(&Command::Txn(txn));
        }
        let state = self.store.read_state();
        state.rights(&self.caller)?.txn(&txn)?;
        let response = state.txn(&txn)?;
        let at = response.revision;
        Ok(format!("read only: {}", print::response(&Response::Txn(response), at)))
    }

    fn watch(&mut self, args: &mut Arguments) -> Answer {
        let flags = ["progress", "no_put", "no_delete", "prev_kv", "fragment"];
        let [progress_notify, no_put, no_delete, prev_kv, fragment] =
            flags.map(|flag| args.flag(flag));
        let (start_revision, watch_id) = (args.number("rev")?, args.number("id")?);
        let (key, range_end) = args.key_pair()?;
        let request = WatchCreateRequest {
            key,
            range_end,
            start_revision,
            progress_notify,
            no_put,
            no_delete,
            prev_kv,
            watch_id,
            fragment,
        };
        let created = self.stream.create(request, self.ring.state().revision());
        Ok(print::watch_responses(&[created]))
    }

    fn advance(&mut self) -> Answer {
        let recent = self.ring.recent(self.stream.position());
        let advance = self.stream.advance(recent)?;
        let more = if advance.more { "more to send\n" } else { "" };
        Ok(print::watch_responses(&advance.responses) + more)
    }

    /// Moves the store into a new one by a snapshot, as with a member that was away for long.
    fn snapshot(&mut self, bytes_max: usize) -> Answer {
        let mut snapshot = self.store.snapshot()?;
        let mut copy = empty_store();
        let (mut cursor, mut pieces) = (Bytes::new(), 0);
        loop {
            let read = snapshot.read(&cursor, bytes_max)?;
            let (first, end) = (pieces == 0, read.next.is_none());
            let piece = Piece {
                last: snapshot.last(),
                membership: Bytes::from_static(b"members"),
                first,
                data: read.data,
                end,
            };
            copy.restore(&piece).map_err(|error| format!("{error:?}"))?;
            pieces += 1;
            match read.next {
                Some(next) => cursor = next,
                None => break,
            }
        }
        self.store = copy;
        self.ring.publish(Vec::new(), self.store.read_state());
        Ok(format!("{pieces} pieces\n"))
    }

    /// What becomes of the store of the one member that is left of a cluster. Whoever watched it has to
    /// come again.
    fn refound(&mut self, bump: i64) -> Answer {
        let applied = self.store.applied();
        let entry = EntryId::new(self.term + 1, applied.index.0 + 1);
        let how = Refounding { entry, membership: Bytes::from_static(b"one member"), bump };
        let revision = self.store.refound(&how)?;
        self.ring = WatchRing::new(1 << 20, self.store.read_state());
        self.stream = WatchStream::new(self.limits);
        Ok(format!("begun anew at revision {revision}\n"))
    }

    /// The rows that are left, whatever can be read of them.
    fn rows(&mut self) -> Answer {
        let engine = std::mem::replace(&mut self.store, empty_store()).into_engine();
        let rows = all_rows(&*engine)?;
        self.store = Store::open(engine)?;
        let count = |table| rows.iter().filter(|(of, ..)| *of == table).count();
        let (keys, revisions) = (count(Table::Key), count(Table::Revision));
        Ok(format!("{keys} of keys, {revisions} of revisions\n"))
    }

    fn leases(&self) -> Answer {
        let state = self.store.read_state();
        let mut out = String::new();
        for lease in state.leases()? {
            assert_eq!(state.lease(lease.id)?, Some(lease));
            let keys = state.lease_keys(lease.id)?;
            let keys: String = keys.iter().map(|key| format!(" {}", print::bytes(key))).collect();
            writeln!(out, "lease {} ttl {}:{keys}", lease.id, lease.ttl)?;
        }
        Ok(out)
    }
}

fn check(txn: &TxnRequest, ops_max: usize) -> Result<(), String> {
    txn.check(ops_max).map_err(|error| format!("{error:?}, before it is proposed"))
}

impl goldenscript::Runner for Runner {
    type Command = Line;

    fn run(&mut self, line: &Line, _: &Context) -> Answer {
        let mut args = Arguments::of_line(&line.args);
        let state = self.store.read_state();
        let output = match line.name.as_str() {
            "put" => self.apply(&Command::Put(args.put()?))?,
            "get" => {
                let request = args.range_request()?;
                state.rights(&self.caller)?.range(&request)?;
                print::range(&state.range(&request)?)
            }
            "del" => self.apply(&Command::DeleteRange(args.delete()?))?,
            "txn" => self.txn(parse::txn(&args.positional()?)?)?,
            // As it stands in the log, whether a server has checked it or not.
            "apply_txn" => self.apply(&Command::Txn(parse::txn(&args.positional()?)?))?,
            // Only what a server checks.
            "check_txn" => {
                let ops_max = args.number("ops_max")?;
                check(&parse::txn(&args.positional()?)?, ops_max)?;
                "valid\n".into()
            }
            // A transaction in one in one.
            "check_nested" => {
                let (depth, ops_max) = (args.number::<usize>("depth")?, args.number("ops_max")?);
                let mut txn = parse::txn("? put a 1")?;
                for _ in 1..depth {
                    let op = RequestOp::Txn(std::mem::take(&mut txn));
                    txn.success.push(op);
                }
                check(&txn, ops_max)?;
                "valid\n".into()
            }
            "compact" => self.apply(&Command::Compact { revision: args.positional()?.parse()? })?,
            "remove" => {
                let (slice, mut slices) = (args.number::<usize>("slice")?.max(1), 1);
                while self.store.compact_some(slice)? {
                    slices += 1;
                }
                self.ring.publish(Vec::new(), self.store.read_state());
                format!("{slices} slices\n")
            }
            "grant" => {
                let (id, ttl) = (args.positional()?.parse()?, args.positional()?.parse()?);
                self.apply(&Command::LeaseGrant { id, ttl })?
            }
            "revoke" => self.apply(&Command::LeaseRevoke { id: args.positional()?.parse()? })?,
            "expire" => {
                let (id, term) = (args.positional()?.parse()?, args.number("term")?);
                self.apply(&Command::LeaseExpire { id, term })?
            }
            "leases" => self.leases()?,
            "member" => {
                let (id, name) = (args.positional()?.parse()?, args.positional()?);
                let client_urls = args.rest();
                self.apply(&Command::Member(MemberAttributes { id, name, client_urls }))?
            }
            "members" => state.members()?.iter().map(|member| format!("{member:?}\n")).collect(),
            "change" => {
                let leaving = args.maybe_number("leaving")?.map(|id| NodeId(id as u64));
                let voters: Result<Vec<u64>, _> = args.rest().iter().map(|id| id.parse()).collect();
                let voters = voters?.into_iter().map(NodeId);
                let outgoing = leaving.into_iter().collect();
                let now = Membership { outgoing, ..Membership::of_voters(voters) };
                self.change(&now)?
            }
            // Who wants what follows: nobody, the servers, or a user, let in now or at a revision of the rights.
            "as" => {
                let revision =
                    args.maybe_number("rev")?.map_or(state.auth().revision(), |at| at as u64);
                self.caller = match args.positional()?.as_str() {
                    "nobody" => Caller::Nobody,
                    "server" => Caller::Server,
                    name => Caller::User { name: name.to_owned(), revision },
                };
                String::new()
            }
            "auth" => print::auth(state.auth()),
            "enable" | "disable" | "issue" | "user_add" | "user_delete" | "password"
            | "grant_role" | "revoke_role" | "role_add" | "role_delete" | "permit" | "forbid" => {
                self.apply(&Command::Auth(args.auth(&line.name)?))?
            }
            "raise" | "disarm" | "clear" => self.apply(&Command::Alarm(args.alarm(&line.name)?))?,
            "alarms" => format!("{}\n", print::alarms(&Vec::from_iter(state.alarms().iter()))),
            "fingerprint" => format!("{:?}\n", self.store.fingerprint()),
            "hash" => {
                let hash = state.hash_kv(args.number("rev")?)?;
                let (up_to, compacted) = (hash.hash_revision, hash.compact_revision);
                format!("{:08x} up to {up_to}, compacted {compacted}\n", hash.hash)
            }
            "history" => {
                let history = state.history(args.number("rev")?, usize::MAX)?;
                history.iter().map(print::events).collect()
            }
            "rows" => self.rows()?,
            "status" => {
                let (compacted, removed) = (state.compacted(), state.physically_compacted());
                format!("revision {} compacted {compacted} removed {removed}\n", state.revision())
            }
            "refound" => self.refound(args.number("bump")?)?,
            "snapshot" => self.snapshot(args.number("bytes")?)?,
            "term" => {
                self.term = args.positional()?.parse()?;
                String::new()
            }
            "ring" => {
                self.ring = WatchRing::new(args.number("bytes")?, state);
                String::new()
            }
            "stream" => {
                let Self { limits, .. } = self;
                limits.fragment_bytes =
                    args.maybe_number("fragment")?.unwrap_or(limits.fragment_bytes);
                limits.advance_bytes =
                    args.maybe_number("advance")?.unwrap_or(limits.advance_bytes);
                limits.revision_bytes =
                    args.maybe_number("revision")?.unwrap_or(limits.revision_bytes);
                self.stream = WatchStream::new(self.limits);
                String::new()
            }
            "watch" => self.watch(&mut args)?,
            "unwatch" => {
                let id = args.positional()?.parse()?;
                let cancelled = self.stream.cancel(id, self.ring.state().revision());
                print::watch_responses(&Vec::from_iter(cancelled))
            }
            "advance" => self.advance()?,
            "progress" => {
                self.stream.request_progress();
                self.advance()?
            }
            "tick" => print::watch_responses(&self.stream.tick()),
            name => return Err(format!("there is no command {name}").into()),
        };
        args.reject_rest()?;
        Ok(output)
    }
}

#[test]
fn scripts() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts");
    let mut scripts: Vec<_> = std::fs::read_dir(folder)
        .expect("the scripts are there")
        .map(|entry| entry.expect("the scripts are there").path())
        .collect();
    scripts.sort();
    assert!(scripts.len() >= 30, "only {} scripts were found", scripts.len());
    let fails = |script: &&PathBuf| {
        let run = || goldenscript::run(&mut Runner::new(), script).expect("the script runs");
        catch_unwind(AssertUnwindSafe(run)).is_err()
    };
    let failed = scripts.iter().filter(fails).filter_map(|script| script.file_name());
    let failed: Vec<_> = failed.map(|name| name.to_string_lossy()).collect();
    assert!(failed.is_empty(), "{} of {} scripts: {failed:?}", failed.len(), scripts.len());
}
