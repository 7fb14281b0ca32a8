//! Backups, and coming from etcd and leaving for it.
//!
//! A backup is what etcd's is: its backend, a bbolt file, with the hash of it behind. So `etcdctl snapshot save` takes
//! one of us, etcd's own tools make a member of etcd of it, and what etcd's tools saved, or what an etcd that was
//! stopped has in its data directory, becomes a member of ours.
//!
//! ```text
//!  the store ── image.rs ──► Maintenance.Snapshot ──► save.rs ──► a file ──► `etcdutl snapshot restore`
//!                                                                   │
//!       an etcd's data directory ── source.rs, tail.rs ─────────────┤
//!                                                                   ▼
//!                                                     content.rs ──► restore.rs: a data directory
//! ```
//!
//! What is *not* carried over: who the members were, since the new cluster has members of its own; alarms, which this
//! server raises by what is the case and not by what was; and what remains of the time of leases, which begins anew.

mod content;
mod file;
#[cfg(feature = "fuzz")]
pub mod fuzz;
mod image;
mod messages;
mod restore;
mod save;
mod source;
mod status;
mod tail;
#[cfg(test)]
mod tests;

pub(crate) use image::{Image, ImageError};
pub(crate) use restore::refuse_unfinished;
pub use restore::{Wishes, restore};
pub use save::SnapshotFile;
pub use status::{Status, status};

/// How long the SHA-256 is that stands behind the file.
const HASH_BYTES: u64 = 32;

/// The file itself is of pages, and so a multiple of this. By the rest etcd's tools tell whether there is a hash.
const SECTOR_BYTES: u64 = 512;

/// The buckets of etcd's backend that are read or have something in them.
mod buckets {
    pub(super) const ALARM: &[u8] = b"alarm";
    pub(super) const AUTH: &[u8] = b"auth";
    pub(super) const ROLES: &[u8] = b"authRoles";
    pub(super) const USERS: &[u8] = b"authUsers";
    pub(super) const CLUSTER: &[u8] = b"cluster";
    pub(super) const KEY: &[u8] = b"key";
    pub(super) const LEASE: &[u8] = b"lease";
    pub(super) const MEMBERS: &[u8] = b"members";
    pub(super) const MEMBERS_REMOVED: &[u8] = b"members_removed";
    pub(super) const META: &[u8] = b"meta";
}

/// The names of single facts in them.
mod facts {
    pub(super) const AUTH_ENABLED: &[u8] = b"authEnabled";
    pub(super) const AUTH_REVISION: &[u8] = b"authRevision";
    pub(super) const CONF_STATE: &[u8] = b"confState";
    pub(super) const CONSISTENT_INDEX: &[u8] = b"consistent_index";
    pub(super) const FINISHED_COMPACTION: &[u8] = b"finishedCompactRev";
    pub(super) const SCHEDULED_COMPACTION: &[u8] = b"scheduledCompactRev";
    pub(super) const TERM: &[u8] = b"term";
}
