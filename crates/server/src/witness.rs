//! A member that is a witness: a voter without a store (`docs/witness.md`).
//!
//! It is known as one from its first start on, by `--initial-witnesses` or by the membership that it joins, and for as
//! long as it is a member. Services, pages and metrics are there as on any member, and have an empty state before them
//! that nothing is ever applied to; whatever would read it is refused before it does (`rpc/mod.rs`).
//!
//! It proposes nothing, so its name gets into the log through the leader. It tells no client URLs: clients that ask where
//! the members are would send it a share of their requests, which it refuses.

use std::fs;
use std::io;
use std::path::Path;

use bytes::{BufMut, Bytes, BytesMut};
use quorate_host::{HostConfig, NodeId, Witness, open_witness};
use quorate_mvcc::mem::MemEngine;
use quorate_mvcc::{Caller, Command, MemberAttributes, Outcome, Store};

use crate::log::Log;
use crate::member::Member;
use crate::rebuild::Rebuild;
use crate::rpc::Failure;

/// The state that readers find on a witness: an empty one, in memory.
pub(crate) fn no_state() -> Store {
    Store::open(Box::new(MemEngine::new())).expect("nothing is damaged where nothing is")
}

/// Opens what a witness has in the place of a store; or, if it is lost, begins anew without it, as other members know
/// where the witness was. There is nothing in it to keep.
///
/// # Errors
/// If the disk refuses. The text is meant for the operator.
pub(crate) fn open(
    data_dir: &Path,
    rebuild: &Rebuild,
    log: &Log,
) -> Result<Witness<Outcome>, String> {
    let path = data_dir.join(HostConfig::STATE);
    let open = || open_witness(data_dir);
    let report = match rebuild.noted()? {
        Some(report) => report,
        None => match open() {
            Ok(witness) => return Ok(witness),
            Err(fault) if fault.kind.loses_state() => fault.report,
            Err(fault) => return Err(fault.report),
        },
    };
    log.error("this witness no longer knows where it was, and learns it from the others")
        .with("path", path.display())
        .with("error", &report);
    rebuild.note(&report)?;
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(format!("can't remove {}: {error}", path.display()));
        }
        _ => {}
    }
    rebuild.put_aside()?;
    open().map_err(|fault| fault.report)
}

/// Before the name of a witness, in what it tells the leader. Other questions begin otherwise (`members.rs`).
const NAME: u8 = 21;

/// How a witness tells the leader its name.
fn telling(name: &str) -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_u8(NAME);
    bytes.put_slice(name.as_bytes());
    bytes.freeze()
}

/// The name that a witness tells; `None` if it is anything else.
fn told(question: &[u8]) -> Option<&str> {
    let name = str::from_utf8(question.strip_prefix(&[NAME])?).ok()?;
    (!name.contains(char::is_control)).then_some(name)
}

impl Member {
    /// Tells the cluster the name of this witness, and returns when that is in the log.
    pub(crate) async fn tell_name(&self) -> Result<(), Failure> {
        let told = self.handle.ask_leader(telling(&self.attributes.name)).await;
        told.map(drop).map_err(Failure::from)
    }

    /// Hears the name of a witness, if that is what was said. Answers when it is in the log, and not at all if this
    /// member does not lead or the other one is no witness.
    pub(crate) async fn hear_name(&self, from: NodeId, question: &Bytes) -> Option<Bytes> {
        let name = told(question)?.to_owned();
        let status = self.handle.status();
        if !status.is_leader() || !status.membership.is_witness(from) {
            return None;
        }
        let attributes = MemberAttributes { id: from.0, name, client_urls: Vec::new() };
        self.propose(&Caller::Nobody, Command::Member(attributes)).await.ok()?;
        Some(Bytes::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::Level;

    #[test]
    fn a_name_arrives_as_it_was_told() {
        for name in ["", "w", "w 1=ä"] {
            assert_eq!(told(&telling(name)), Some(name));
        }
        for wrong in [&[][..], b"w", &[NAME, 0xff], &[NAME, b'\n'], &[20, b'w']] {
            assert_eq!(told(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn a_witness_that_forgot_where_it_was_begins_anew() {
        let directory = tempfile::tempdir().expect("a directory");
        let data_dir = directory.path();
        let (rebuild, log) = (Rebuild::new(data_dir), Log::new(Level::Fatal, io::sink()));
        let state = data_dir.join(HostConfig::STATE);
        fs::write(&state, "no image").expect("written");
        open(data_dir, &rebuild, &log).expect("without it");
        assert!(!state.exists() && rebuild.noted() == Ok(None));
        // The log was lost, which is noted: the state may be ahead of the next one.
        fs::write(&state, "whatever it is").expect("written");
        rebuild.note("the log is lost").expect("noted");
        open(data_dir, &rebuild, &log).expect("without it");
        assert!(!state.exists() && rebuild.noted() == Ok(None));
        assert!(!rebuild.is_under_way(), "nothing is kept aside");
    }
}
