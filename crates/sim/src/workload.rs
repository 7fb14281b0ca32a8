//! The clients: each has one request under way, at a member of its choice, on a few keys that all of
//! them fight over.

use std::time::Duration;

use bytes::Bytes;
use quorate_raft::NodeId;

use crate::chance::Chance;
use crate::model::Request;
use crate::oracle::RequestId;
use crate::rider::Cargo;
use crate::swarm::Options;

/// What all clients have in common.
#[derive(Debug)]
pub struct Workload {
    chance: Chance,
    keys: u64,
    reads_per_mille: u64,
    value_bytes: usize,
    clients: Vec<Client>,
    values: u64,
    /// What the values carry for a machine that rides along.
    cargo: Option<Cargo>,
}

/// A client.
#[derive(Clone, Copy, Debug, Default)]
pub struct Client {
    /// The request under way, and where.
    pub waits_for: Option<(RequestId, NodeId)>,
    /// When it asked last.
    pub since: Duration,
}

impl Workload {
    /// Clients that have not asked for anything.
    #[must_use]
    pub fn new(options: &Options, chance: Chance) -> Self {
        let clients = usize::try_from(options.clients).expect("a few clients");
        Self {
            chance,
            keys: options.keys,
            reads_per_mille: options.reads_per_mille,
            value_bytes: usize::try_from(options.value_bytes).expect("values are small"),
            clients: vec![Client::default(); clients],
            values: 0,
            cargo: None,
        }
    }

    /// From now on every value carries something.
    pub(crate) fn carry(&mut self, cargo: Cargo) {
        self.cargo = Some(cargo);
    }

    /// The clients.
    #[must_use]
    pub fn clients(&self) -> &[Client] {
        &self.clients
    }

    /// A client.
    pub fn client_mut(&mut self, client: usize) -> &mut Client {
        &mut self.clients[client]
    }

    /// The client that waits for this request.
    #[must_use]
    pub fn waiting_for(&self, id: RequestId) -> Option<usize> {
        self.clients.iter().position(|c| c.waits_for.is_some_and(|(waits, _)| waits == id))
    }

    /// Any request. `seen` tells the revision of a key's last change as somebody may have seen it, so
    /// that swaps succeed now and then.
    pub fn request(&mut self, seen: impl Fn(&Bytes) -> i64) -> Request {
        let key = self.key();
        if self.chance.per_mille(self.reads_per_mille) {
            return Request::Read { key };
        }
        match self.chance.below(10) {
            0..=5 => self.put(key),
            6 => Request::Delete { key },
            _ => {
                let expected = if self.chance.per_mille(700) { seen(&key) } else { 0 };
                Request::Swap { key, expected, value: self.value() }
            }
        }
    }

    /// A write that no other request resembles.
    pub fn write(&mut self) -> Request {
        let key = self.key();
        self.put(key)
    }

    fn put(&mut self, key: Bytes) -> Request {
        Request::Put { key, value: self.value() }
    }

    fn key(&mut self) -> Bytes {
        Bytes::from(format!("key-{}", self.chance.below(self.keys)))
    }

    /// A value that is written once in a run.
    fn value(&mut self) -> Bytes {
        self.values += 1;
        let mut value = self.values.to_string().into_bytes();
        value.resize(value.len().max(self.value_bytes), b'.');
        if let Some(cargo) = &mut self.cargo {
            cargo.load(&mut value);
        }
        value.into()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn requests_are_of_all_kinds_and_values_are_unique() {
        let options = Options { reads_per_mille: 300, ..Options::draw(&mut Chance::new(1)) };
        let mut workload = Workload::new(&options, Chance::new(2));
        let (mut values, mut written, mut reads, mut deletes) = (BTreeSet::new(), 0, 0, 0);
        for _ in 0..1_000 {
            match workload.request(|_| 7) {
                Request::Put { value, .. } | Request::Swap { value, .. } => {
                    written += 1;
                    values.insert(value);
                }
                Request::Read { .. } => reads += 1,
                Request::Delete { .. } => deletes += 1,
                other => unreachable!("these clients don't ask for {other:?}"),
            }
        }
        assert_eq!(values.len(), written);
        assert!((250..350).contains(&reads), "{reads}");
        assert!(deletes > 20, "{deletes}");
    }
}
