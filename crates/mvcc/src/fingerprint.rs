//! A fingerprint of the replicated state, kept up to date with each command.
//!
//! Members that applied the same log must hold the same state, and they compare fingerprints of it
//! through the log to see that they do ([`quorate_node::Machine::fingerprint`]). So a fingerprint must
//! follow from the commands alone and not from how a member came to its state: by applying every
//! command, in whatever batches and instalments, from a snapshot, with the space of compacted history
//! taken back or not.
//!
//! It is two sums, of a hash of 128 bits for each item, modulo 2^128, so that an item comes and goes
//! by one addition, in any order:
//!
//! - **What lives**: the newest revision of each key with its value, the leases and the keys attached
//!   to them, the names of the members, users and roles, alarms. These rows are there on every member, however far its
//!   compaction is; so the sum can be computed again from rows, and is, of those of a snapshot.
//! - **What ever happened**: every put and every deletion since the beginning. History goes away by
//!   compaction at times that differ from member to member, so its rows can't be counted; what was
//!   once written can. This sum is carried along and never taken back.
//!
//! The revision and the compacted revision join them at the end. What is *not* in it is how far the
//! space of compactions is back.
//!
//! The hash is XXH3, of a key and its numbers and of the value each, and of both together. It is fast
//! (some tens of nanoseconds for a small pair) and the same in all versions and on all machines. It is
//! no defence against somebody who looks for two states with one fingerprint; who may write to the
//! store has simpler ways to harm it.

use alloc::vec::Vec;

use bytes::Bytes;
use quorate_node::Fingerprint;
use xxhash_rust::xxh3::xxh3_128;

use crate::alarm;
use crate::auth;
use crate::codec::{Malformed, Source};
use crate::engine::{EngineError, Table};
use crate::response::{KeyValue, Lease};
use crate::rows;
use crate::store::State;

/// What a sum is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Item(u128);

/// The kinds of items.
#[repr(u8)]
enum Kind {
    Put = 1,
    Deletion = 2,
    Lease = 3,
    LeaseKey = 4,
    Member = 5,
    Auth = 6,
    Alarm = 7,
}

/// An item of some numbers and two strings.
fn item(kind: Kind, numbers: &[i64], key: &[u8], value: &[u8]) -> Item {
    let mut head = Vec::with_capacity(1 + 8 * numbers.len() + key.len());
    head.push(kind as u8);
    for number in numbers {
        head.extend_from_slice(&number.to_le_bytes());
    }
    head.extend_from_slice(key);
    let mut both = [0; 32];
    both[..16].copy_from_slice(&xxh3_128(&head).to_le_bytes());
    both[16..].copy_from_slice(&xxh3_128(value).to_le_bytes());
    Item(xxh3_128(&both))
}

/// A key as a put left it.
pub(crate) fn put(kv: &KeyValue) -> Item {
    let numbers = [kv.create_revision, kv.mod_revision, kv.version, kv.lease];
    item(Kind::Put, &numbers, &kv.key, &kv.value)
}

/// The deletion of a key at a revision.
pub(crate) fn deletion(key: &[u8], revision: i64) -> Item {
    item(Kind::Deletion, &[revision], key, &[])
}

/// A lease.
pub(crate) fn lease(lease: Lease) -> Item {
    item(Kind::Lease, &[lease.id, lease.ttl], &[], &[])
}

/// That a key is attached to a lease.
pub(crate) fn lease_key(id: i64, key: &[u8]) -> Item {
    item(Kind::LeaseKey, &[id], key, &[])
}

/// What a member told about itself, by the row that it is in.
pub(crate) fn member(row: &[u8], record: &[u8]) -> Item {
    item(Kind::Member, &[], row, record)
}

/// A user, a role, or whether rights are checked, by the row that it is in.
pub(crate) fn auth(row: &[u8], record: &[u8]) -> Item {
    item(Kind::Auth, &[], row, record)
}

/// An alarm, by the row that it is in.
pub(crate) fn alarm(row: &[u8], record: &[u8]) -> Item {
    item(Kind::Alarm, &[], row, record)
}

/// The two sums, of a state or of what a command changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sums {
    /// What lives.
    pub(crate) live: u128,
    /// What ever happened to a key.
    history: u128,
}

impl Sums {
    /// Of nothing.
    pub(crate) const ZERO: Self = Self { live: 0, history: 0 };

    /// Something lives from now on.
    pub(crate) fn come(&mut self, Item(item): Item) {
        self.live = self.live.wrapping_add(item);
    }

    /// Something that lived lives no more.
    pub(crate) fn go(&mut self, Item(item): Item) {
        self.live = self.live.wrapping_sub(item);
    }

    /// Something happened to a key.
    pub(crate) fn happen(&mut self, Item(item): Item) {
        self.history = self.history.wrapping_add(item);
    }

    /// Takes over what a command changed.
    pub(crate) fn add(&mut self, change: Self) {
        self.live = self.live.wrapping_add(change.live);
        self.history = self.history.wrapping_add(change.history);
    }

    pub(crate) fn encode(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.live.to_be_bytes());
        out.extend_from_slice(&self.history.to_be_bytes());
    }

    pub(crate) fn decode(source: &mut Source) -> Result<Self, Malformed> {
        Ok(Self { live: source.u128()?, history: source.u128()? })
    }

    /// Both sums and the revisions in one.
    pub(crate) fn fingerprint(self, revision: i64, compacted: i64) -> Fingerprint {
        let mut all = Vec::with_capacity(48);
        self.encode(&mut all);
        all.extend_from_slice(&revision.to_be_bytes());
        all.extend_from_slice(&compacted.to_be_bytes());
        Fingerprint(xxh3_128(&all))
    }
}

/// Sums up what lives, from rows as they lie in an engine: all of them, in order.
#[derive(Debug, Default)]
pub struct LiveRows {
    sums: Sums,
    /// The part of the last row of `Table::Key` that all revisions of its key share.
    prefix: Bytes,
}

impl LiveRows {
    /// Adds the next row.
    ///
    /// # Errors
    /// If it makes no sense.
    pub fn add(&mut self, table: Table, key: &Bytes, value: &Bytes) -> Result<(), EngineError> {
        match table {
            Table::Key => {
                let (prefix, revision) = rows::split_key_row(key)?;
                // The newest revision of a key comes first, and only that one counts.
                if prefix != self.prefix {
                    if !rows::is_deletion(value)? {
                        self.sums.come(put(&rows::read_put(&prefix, revision, value)?));
                    }
                    self.prefix = prefix;
                }
            }
            Table::Lease => {
                let (id, ttl) = rows::read_lease(key, value)?;
                self.sums.come(lease(Lease { id, ttl }));
            }
            Table::LeaseKey => {
                let (id, attached) = rows::split_lease_key_row(key)?;
                self.sums.come(lease_key(id, &attached));
            }
            Table::Meta if key.starts_with(State::MEMBER) => self.sums.come(member(key, value)),
            Table::Meta if auth::row::is_one(key) => self.sums.come(auth(key, value)),
            Table::Meta if alarm::is_one(key) => self.sums.come(alarm(key, value)),
            // What is in the state's row is what this is compared with; history has a sum of its own; and the
            // membership is none of the store's.
            Table::Meta | Table::Revision => {}
        }
        Ok(())
    }

    /// The sum. The state's row of such rows has it 32 bytes before its end, big-endian.
    #[must_use]
    pub fn sum(&self) -> u128 {
        self.sums.live
    }
}
