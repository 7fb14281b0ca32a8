//! What the clients were told, held against what was committed.
//!
//! The log is the linearization: a command takes effect at its position, a read at the position
//! its machine had applied. So whether a history is linearizable needs no search. It is if
//!
//! 1. every answer is the one that the [`Model`] gives at that position, and
//! 2. whatever began after another request had ended stands behind it in the log (a read at the
//!    same position or behind).
//!
//! Beyond that: no command is committed twice; none that a client was told would never take effect
//! is committed at all; all machines give the same outcome at the same position.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use quorate_check::Violation;
use quorate_mvcc::{Error, Outcome, Proposal, RangeResponse};
use quorate_node::RequestError;
use quorate_node::proposal::{self, ProposalId};
use quorate_raft::{Entry, EntryId, Index, NodeId, Payload};

use crate::history::{self, Recorder, SecondOpinion};
use crate::model::{Model, Request};

/// Names a request of a run. The waiter that nodes carry along.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RequestId(pub u64);

/// A request that has not ended.
#[derive(Clone, Debug)]
struct Open {
    request: Request,
    /// The furthest position that an ended request had reached when this one began.
    floor: Index,
}

/// How many requests ended how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Commands that were acknowledged.
    pub writes: u64,
    /// Reads that were answered.
    pub reads: u64,
    /// Commands that were acknowledged and refused, for want of space.
    pub refused: u64,
    /// Requests that ended in an error.
    pub failed: u64,
    /// Requests whose node crashed under them.
    pub lost: u64,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Oracle {
    model: Model,
    /// What each committed command must answer; nothing for an entry without a command.
    expected: Vec<(EntryId, Option<Outcome>)>,
    /// What was asked for at each position.
    requests: BTreeMap<Index, Request>,
    /// The names of all committed commands.
    committed: BTreeSet<ProposalId>,
    /// The commands that will never take effect, as their clients were told.
    never: BTreeSet<Mark>,
    open: BTreeMap<RequestId, Open>,
    next: u64,
    /// The furthest position that an ended request has reached.
    floor: Index,
    tally: Tally,
    seen: Recorder,
}

fn wrong(what: impl Into<String>) -> Violation {
    Violation::new("oracle", what)
}

impl Oracle {
    /// A client asks for something.
    pub fn begin(&mut self, request: Request) -> RequestId {
        let id = self.begin_stale(request.clone());
        self.seen.begin(id, &request);
        id
    }

    /// A client asks for something that may be stale, and so has no place in the order of all else.
    pub fn begin_stale(&mut self, request: Request) -> RequestId {
        self.next += 1;
        let id = RequestId(self.next);
        self.open.insert(id, Open { request, floor: self.floor });
        id
    }

    /// An entry was committed, for the first time anywhere.
    ///
    /// # Errors
    /// If it is a command that must not be committed.
    pub fn committed(&mut self, entry: &Entry) -> Result<(), Violation> {
        assert_eq!(entry.id.index.0, self.expected.len() as u64 + 1, "entries come in order");
        let outcome = match &entry.payload {
            Payload::Noop | Payload::Membership(_) => None,
            // What members tell each other about their states is given to no machine.
            Payload::Command(bytes) if proposal::decode_own(bytes).is_some() => None,
            Payload::Command(bytes) => Some(self.command(entry.id, bytes)?),
        };
        self.expected.push((entry.id, outcome));
        Ok(())
    }

    fn command(&mut self, id: EntryId, bytes: &Bytes) -> Result<Outcome, Violation> {
        let (name, command) =
            proposal::decode(bytes).ok_or_else(|| wrong(format!("{id} has no envelope")))?;
        if !self.committed.insert(name) {
            return Err(wrong(format!("{id} commits {name:?} a second time")));
        }
        let Proposal { command, .. } =
            Proposal::decode(&command).map_err(|error| wrong(format!("{id}: {error:?}")))?;
        let request = Request::of_command(&command)
            .ok_or_else(|| wrong(format!("{id} is no request of a client: {command:?}")))?;
        if mark_of(&request).is_some_and(|mark| self.never.contains(&mark)) {
            return Err(wrong(format!("{id} commits what never was to take effect: {request:?}")));
        }
        let outcome = self.model.apply(id, &request);
        self.requests.insert(id.index, request);
        Ok(outcome)
    }

    /// A machine has applied the command at this position.
    ///
    /// # Errors
    /// If the outcome is not that of the model, or nothing was committed there.
    pub fn applied(&self, node: NodeId, id: EntryId, outcome: &Outcome) -> Result<(), Violation> {
        match self.expected_at(id.index) {
            Some((entry, Some(expected))) if *entry == id && expected == outcome => Ok(()),
            other => Err(wrong(format!(
                "{node} applies {id} with the outcome {outcome:?}; expected was {other:?}"
            ))),
        }
    }

    fn expected_at(&self, index: Index) -> Option<&(EntryId, Option<Outcome>)> {
        self.expected.get(usize::try_from(index.0.checked_sub(1)?).ok()?)
    }

    /// A client's command was acknowledged.
    ///
    /// # Errors
    /// If it is not what stands at this position, or stands before something that had ended when it
    /// began.
    pub fn acknowledged(
        &mut self,
        id: RequestId,
        at: EntryId,
        outcome: &Outcome,
    ) -> Result<(), Violation> {
        let open = self.end(id)?;
        match outcome.result {
            _ if matches!(open.request, Request::Expire { .. } | Request::Alarm(_)) => {}
            // Of alarms the second opinion knows nothing but that what they refuse never takes effect.
            Err(Error::NoSpace) => {
                self.seen.failed(id);
                self.tally.refused += 1;
            }
            _ => self.seen.answered(id, history::reply(outcome)),
        }
        let committed = self.requests.get(&at.index);
        if committed != Some(&open.request) {
            return Err(wrong(format!(
                "{:?} is acknowledged at {at}, where {committed:?} was committed",
                open.request
            )));
        }
        if at.index <= open.floor {
            return Err(wrong(format!(
                "{:?} takes effect at {at}, although {} was answered before it began",
                open.request, open.floor
            )));
        }
        match self.expected_at(at.index) {
            Some((_, Some(expected))) if expected == outcome => {}
            other => {
                return Err(wrong(format!("{at} is answered {outcome:?}, expected {other:?}")));
            }
        }
        self.floor = self.floor.max(at.index);
        self.tally.writes += 1;
        Ok(())
    }

    /// What is asked for under this id, if it has not ended.
    #[must_use]
    pub fn request(&self, id: RequestId) -> Option<&Request> {
        self.open.get(&id).map(|open| &open.request)
    }

    /// Whether a request with this value was committed.
    #[must_use]
    pub fn has_committed(&self, request: &Request) -> bool {
        self.requests.values().any(|committed| committed == request)
    }

    /// What was put up to the furthest position that an ended request had reached, keys and values: whoever
    /// was answered there has seen all of it.
    #[must_use]
    pub fn acknowledged_puts(&self) -> Vec<(Bytes, Bytes)> {
        let acknowledged = self.requests.range(..=self.floor).map(|(_, request)| request);
        let puts = acknowledged.filter_map(|request| match request {
            Request::Put { key, value } => Some((key.clone(), value.clone())),
            _ => None,
        });
        puts.collect()
    }

    /// A client was told that a lease is gone.
    pub fn lease_gone(&mut self, id: i64) {
        self.seen.lease_gone(id);
    }

    /// What was asked for and must be answered at the last position committed, if it is a command.
    #[must_use]
    pub fn last_committed(&self) -> Option<(&Request, &Outcome)> {
        let (_, outcome) = self.expected.last()?;
        Some((self.requests.get(&self.last())?, outcome.as_ref()?))
    }

    /// A client's read was answered from a machine that had applied this position.
    ///
    /// # Errors
    /// If it is stale, or is not what the model reads there.
    pub fn read(
        &mut self,
        id: RequestId,
        at: Index,
        response: &RangeResponse,
    ) -> Result<(), Violation> {
        let open = self.end(id)?;
        self.seen.answered(id, Ok(quorate_check::history::Response::Range(response.clone())));
        let Request::Read { key } = &open.request else {
            return Err(wrong(format!("{:?} is answered like a read", open.request)));
        };
        if at < open.floor {
            return Err(wrong(format!(
                "a read of {key:?} sees {at}, although {} was answered before it began",
                open.floor
            )));
        }
        self.state(key, at, response)?;
        self.floor = self.floor.max(at);
        self.tally.reads += 1;
        Ok(())
    }

    /// A client's read that may be stale was answered, and has been judged.
    ///
    /// # Errors
    /// If it had ended.
    pub fn read_stale(&mut self, id: RequestId) -> Result<(), Violation> {
        self.end(id)?;
        self.tally.reads += 1;
        Ok(())
    }

    /// The furthest position that an ended request has reached.
    #[must_use]
    pub fn floor(&self) -> Index {
        self.floor
    }

    /// A state that was read in any way.
    ///
    /// # Errors
    /// If it is not what the model reads there.
    pub fn state(&self, key: &Bytes, at: Index, response: &RangeResponse) -> Result<(), Violation> {
        let expected = self.model.read(key, at);
        if expected == *response {
            return Ok(());
        }
        Err(wrong(format!("{key:?} read at {at} is {response:?}, expected {expected:?}")))
    }

    /// A request ended with an error.
    ///
    /// # Errors
    /// If it took effect although the error says that it never will.
    pub fn failed(&mut self, id: RequestId, error: RequestError) -> Result<(), Violation> {
        let open = self.end(id)?;
        self.tally.failed += 1;
        let never = match error {
            RequestError::NoLeader
            | RequestError::Overloaded
            | RequestError::TooLarge
            | RequestError::NoSuchGroup
            | RequestError::Witness => true,
            RequestError::Timeout | RequestError::Unknown => false,
        };
        if never {
            self.seen.failed(id);
        }
        let Some(mark) = mark_of(&open.request).filter(|_| never) else { return Ok(()) };
        if self.has_committed(&open.request) {
            return Err(wrong(format!("{:?} failed with {error:?} and took effect", open.request)));
        }
        self.never.insert(mark);
        Ok(())
    }

    /// The node of a request crashed: nobody will ever know.
    pub fn lost(&mut self, id: RequestId) {
        if self.open.remove(&id).is_some() {
            self.tally.lost += 1;
        }
    }

    fn end(&mut self, id: RequestId) -> Result<Open, Violation> {
        self.open.remove(&id).ok_or_else(|| wrong(format!("{id:?} ends twice")))
    }

    /// A request that has not ended, if there is any.
    #[must_use]
    pub fn any_open(&self) -> Option<(RequestId, &Request)> {
        self.open.first_key_value().map(|(id, open)| (*id, &open.request))
    }

    /// Whether what the clients saw has an explanation without a look at the log.
    ///
    /// # Errors
    /// If it has none.
    pub fn second_opinion(&self) -> Result<SecondOpinion, Violation> {
        self.seen.judge()
    }

    /// How requests ended so far.
    #[must_use]
    pub fn tally(&self) -> Tally {
        self.tally
    }

    /// The sequential specification in its present state.
    #[must_use]
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// The last position committed.
    #[must_use]
    pub fn last(&self) -> Index {
        Index(self.expected.len() as u64)
    }
}

/// What makes a request unlike all others of a run.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Mark {
    /// The value that it writes.
    Value(Bytes),
    /// The lease that it grants.
    Lease(i64),
}

/// The mark of a request, if it has one: the others may be asked for again.
fn mark_of(request: &Request) -> Option<Mark> {
    match request {
        Request::Put { value, .. }
        | Request::Swap { value, .. }
        | Request::Attach { value, .. } => Some(Mark::Value(value.clone())),
        Request::Grant { id, .. } => Some(Mark::Lease(*id)),
        Request::Delete { .. }
        | Request::Compact { .. }
        | Request::Read { .. }
        | Request::Revoke { .. }
        | Request::Expire { .. }
        | Request::Alarm(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    const NODE: NodeId = NodeId(1);

    fn put(value: &'static str) -> Request {
        let value = Bytes::from_static(value.as_bytes());
        Request::Put { key: Bytes::from_static(b"k"), value }
    }

    fn read() -> Request {
        Request::Read { key: Bytes::from_static(b"k") }
    }

    fn entry(index: u64, number: u64, request: &Request) -> Entry {
        let name = ProposalId { origin: NODE, incarnation: 1, number };
        let command = request.command().expect("it is no read").encode();
        let payload = Payload::Command(proposal::encode(name, &command));
        Entry { id: EntryId::new(1, index), payload }
    }

    fn expected(oracle: &Oracle, index: u64) -> Outcome {
        oracle
            .expected_at(Index(index))
            .and_then(|(_, outcome)| outcome.clone())
            .expect("a command")
    }

    #[test]
    fn a_right_history_passes() {
        let mut oracle = Oracle::default();
        let write = oracle.begin(put("a"));
        oracle.committed(&entry(1, 1, &put("a"))).unwrap();
        let outcome = expected(&oracle, 1);
        oracle.applied(NODE, EntryId::new(1, 1), &outcome).unwrap();
        oracle.acknowledged(write, EntryId::new(1, 1), &outcome).unwrap();
        let reading = oracle.begin(read());
        let response = oracle.model().read(&Bytes::from_static(b"k"), Index(1));
        oracle.read(reading, Index(1), &response).unwrap();
        assert_eq!(oracle.tally(), Tally { writes: 1, reads: 1, ..Tally::default() });
        assert!(oracle.any_open().is_none());
    }

    #[test]
    fn a_stale_read_is_noticed() {
        let mut oracle = Oracle::default();
        let write = oracle.begin(put("a"));
        oracle.committed(&entry(1, 1, &put("a"))).unwrap();
        let outcome = expected(&oracle, 1);
        let early = oracle.begin(read());
        oracle.acknowledged(write, EntryId::new(1, 1), &outcome).unwrap();
        let late = oracle.begin(read());
        let before = oracle.model().read(&Bytes::from_static(b"k"), Index(0));
        oracle.read(early, Index(0), &before).expect("it began before the write had ended");
        oracle.read(late, Index(0), &before).expect_err("it began after the write had ended");
    }

    #[test]
    fn a_read_of_another_state_is_noticed() {
        let mut oracle = Oracle::default();
        oracle.committed(&entry(1, 1, &put("a"))).unwrap();
        let reading = oracle.begin(read());
        let before = oracle.model().read(&Bytes::from_static(b"k"), Index(0));
        oracle.read(reading, Index(1), &before).expect_err("the key was written at 1");
    }

    #[test]
    fn a_write_behind_its_time_is_noticed() {
        let mut oracle = Oracle::default();
        for (index, value) in [(1, "a"), (2, "b")] {
            oracle.committed(&entry(index, index, &put(value))).unwrap();
        }
        let second = oracle.begin(put("b"));
        let outcome = expected(&oracle, 2);
        oracle.acknowledged(second, EntryId::new(1, 2), &outcome).unwrap();
        let first = oracle.begin(put("a"));
        let outcome = expected(&oracle, 1);
        oracle.acknowledged(first, EntryId::new(1, 1), &outcome).expect_err("2 had been answered");
    }

    #[test]
    fn a_command_committed_twice_is_noticed() {
        let mut oracle = Oracle::default();
        oracle.committed(&entry(1, 7, &put("a"))).unwrap();
        oracle.committed(&entry(2, 7, &put("a"))).expect_err("the same command");
    }

    #[test]
    fn a_command_that_was_never_to_take_effect_is_noticed() {
        let mut oracle = Oracle::default();
        let early = oracle.begin(put("a"));
        oracle.failed(early, RequestError::NoLeader).unwrap();
        oracle.committed(&entry(1, 1, &put("a"))).expect_err("its client was told otherwise");

        let mut oracle = Oracle::default();
        let late = oracle.begin(put("a"));
        oracle.committed(&entry(1, 1, &put("a"))).unwrap();
        oracle.failed(late, RequestError::Overloaded).expect_err("it took effect");
    }

    #[test]
    fn a_lease_that_was_never_to_be_granted_is_noticed() {
        let grant = |id| Request::Grant { id, ttl: 1 };
        let mut oracle = Oracle::default();
        let early = oracle.begin(grant(7));
        oracle.failed(early, RequestError::NoLeader).unwrap();
        oracle.committed(&entry(1, 1, &grant(8))).expect("that is another lease");
        oracle.committed(&entry(2, 2, &grant(7))).expect_err("its client was told otherwise");

        let mut oracle = Oracle::default();
        let late = oracle.begin(grant(7));
        oracle.committed(&entry(1, 1, &grant(7))).unwrap();
        oracle.failed(late, RequestError::Overloaded).expect_err("it took effect");
    }

    #[test]
    fn diverging_outcomes_and_wrong_answers_are_noticed() {
        let mut oracle = Oracle::default();
        let write = oracle.begin(put("a"));
        oracle.committed(&entry(1, 1, &put("a"))).unwrap();
        let mut outcome = expected(&oracle, 1);
        outcome.revision += 1;
        oracle.applied(NODE, EntryId::new(1, 1), &outcome).expect_err("another revision");
        oracle.acknowledged(write, EntryId::new(1, 1), &outcome).expect_err("another revision");
    }

    #[test]
    fn a_request_that_ends_twice_is_noticed() {
        let mut oracle = Oracle::default();
        let write = oracle.begin(put("a"));
        oracle.failed(write, RequestError::Timeout).unwrap();
        oracle.failed(write, RequestError::Timeout).expect_err("once is enough");
    }
}
