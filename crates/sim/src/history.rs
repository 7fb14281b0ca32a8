//! What the clients saw, for a second opinion.
//!
//! The [`Oracle`](crate::oracle::Oracle) judges each answer at once, by the log, of which it knows
//! everything. This notes only what a client knows, the request, the answer and which came before
//! which, and has `quorate_check` look for an order that explains it when the run is over. The two share
//! neither a model nor a method, so a mistake in one of them shows as a difference.

use std::collections::BTreeMap;

use quorate_check::Violation;
use quorate_check::history::{Operation, Outcome, Reply, Request, Response};
use quorate_check::linearizability::{Verdict, check};
use quorate_check::model::Model;
use quorate_mvcc::{Command, KeyRange, RangeRequest};

use crate::model;
use crate::oracle::RequestId;

/// How many steps the search may take for each operation. Three are usual.
const STEPS_PER_OPERATION: u64 = 30;

/// What the clients saw.
#[derive(Debug, Default)]
pub struct Recorder {
    operations: Vec<Operation>,
    open: BTreeMap<RequestId, usize>,
    /// For each lease that a client asked for and none asked to revoke: which of the operations stands for its
    /// end by a clock, as long as no client was told that it has ended.
    leases: BTreeMap<i64, usize>,
    /// Counted up at each call and return. The order of the world is all that matters of time.
    now: u64,
}

/// What the second opinion looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SecondOpinion {
    /// Operations in the history.
    pub operations: u64,
    /// Whether the search took too long, so that there is no second opinion.
    pub gave_up: bool,
}

impl Recorder {
    /// A client asks.
    pub fn begin(&mut self, id: RequestId, request: &model::Request) {
        // What members ask of each other no client sees.
        let Some(request) = as_seen(request) else { return };
        self.now += 1;
        self.open.insert(id, self.operations.len());
        let unknown = |request| Operation {
            client: id.0,
            call: self.now,
            request,
            outcome: Outcome::Unknown,
        };
        // The clock of a lease may end it at any time from its grant on.
        let end = match request {
            Request::LeaseGrant { id, .. } => {
                self.leases.insert(id, self.operations.len() + 1);
                Some(unknown(Request::LeaseRevoke { id }))
            }
            Request::LeaseRevoke { id } => {
                self.leases.remove(&id);
                None
            }
            _ => None,
        };
        self.operations.push(unknown(request));
        self.operations.extend(end);
    }

    /// A client is answered.
    pub fn answered(&mut self, id: RequestId, reply: Reply) {
        self.now += 1;
        let returned = self.now;
        self.end(id, Outcome::Known { returned, reply });
    }

    /// A client is told that a lease is gone. If nobody asked for that, it was its clock: a revocation
    /// that is known to have succeeded by now, which is a great help to a search.
    pub fn lease_gone(&mut self, id: i64) {
        self.now += 1;
        if let Some(end) = self.leases.remove(&id) {
            let reply = Ok(Response::LeaseRevoke);
            self.operations[end].outcome = Outcome::Known { returned: self.now, reply };
        }
    }

    /// A client is told that its request never takes effect.
    pub fn failed(&mut self, id: RequestId) {
        self.end(id, Outcome::Failed);
    }

    fn end(&mut self, id: RequestId, outcome: Outcome) {
        if let Some(at) = self.open.remove(&id) {
            self.operations[at].outcome = outcome;
        }
    }

    /// Looks for an order of everything so far.
    ///
    /// # Errors
    /// If there is none.
    pub fn judge(&self) -> Result<SecondOpinion, Violation> {
        let operations = self.operations.len() as u64;
        let budget = operations * STEPS_PER_OPERATION + 1;
        match check(&self.operations, &Model::default(), budget) {
            Verdict::Linearizable(_) => Ok(SecondOpinion { operations, gave_up: false }),
            Verdict::Unknown { .. } => Ok(SecondOpinion { operations, gave_up: true }),
            Verdict::Illegal(illegal) => {
                Err(Violation::new("linearizability", illegal.to_string()))
            }
        }
    }
}

fn as_seen(request: &model::Request) -> Option<Request> {
    Some(match (request, request.command()) {
        (model::Request::Expire { .. } | model::Request::Alarm(_), _) => return None,
        (model::Request::Read { key }, _) => {
            Request::Range(RangeRequest::new(KeyRange::Point(key.clone())))
        }
        (_, Some(Command::LeaseGrant { id, ttl })) => Request::LeaseGrant { id, ttl },
        (_, Some(Command::LeaseRevoke { id })) => Request::LeaseRevoke { id },
        (_, Some(Command::Put(put))) => Request::Put(put),
        (_, Some(Command::DeleteRange(delete))) => Request::DeleteRange(delete),
        (_, Some(Command::Txn(txn))) => Request::Txn(txn),
        (_, Some(Command::Compact { revision })) => Request::Compact { revision },
        (request, command) => unreachable!("no client asks for {request:?}, {command:?}"),
    })
}

/// The answer to a command, as its client sees it.
///
/// # Panics
/// If it is an answer to a command that no client gives.
pub fn reply(outcome: &quorate_mvcc::Outcome) -> Reply {
    outcome.result.clone().map(|response| match response {
        quorate_mvcc::Response::Put(put) => Response::Put(put),
        quorate_mvcc::Response::DeleteRange(delete) => Response::DeleteRange(delete),
        quorate_mvcc::Response::Txn(txn) => Response::Txn(txn),
        quorate_mvcc::Response::Compact => Response::Compact,
        quorate_mvcc::Response::LeaseGrant { id, .. } => Response::LeaseGrant { id },
        quorate_mvcc::Response::LeaseRevoke => Response::LeaseRevoke,
        other => unreachable!("no client is told {other:?}"),
    })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use quorate_mvcc::{PutResponse, RangeResponse};

    use super::*;

    fn write(recorder: &mut Recorder, id: u64, revision: i64) {
        let (key, value) = (Bytes::from_static(b"k"), Bytes::from(id.to_string()));
        recorder.begin(RequestId(id), &model::Request::Put { key, value });
        let prev_kv = None;
        recorder.answered(RequestId(id), Ok(Response::Put(PutResponse { revision, prev_kv })));
    }

    fn read(recorder: &mut Recorder, id: u64, response: RangeResponse) {
        recorder.begin(RequestId(id), &model::Request::Read { key: Bytes::from_static(b"k") });
        recorder.answered(RequestId(id), Ok(Response::Range(response)));
    }

    #[test]
    fn a_stale_read_has_no_explanation() {
        let mut recorder = Recorder::default();
        let nothing = RangeResponse { revision: 1, ..RangeResponse::default() };
        read(&mut recorder, 1, nothing.clone());
        let opinion = recorder.judge().expect("nothing is there yet");
        assert_eq!(opinion, SecondOpinion { operations: 1, gave_up: false });
        // The clients of a run ask for what was there before.
        let delete = model::Request::Delete { key: Bytes::from_static(b"other") };
        recorder.begin(RequestId(2), &delete);
        recorder.failed(RequestId(2));
        recorder.begin(RequestId(3), &delete);
        write(&mut recorder, 4, 2);
        recorder.judge().expect("one failed, one is under way, one is done");
        read(&mut recorder, 5, nothing);
        let violation = recorder.judge().expect_err("it was written before");
        assert_eq!(violation.property, "linearizability");
    }
}
