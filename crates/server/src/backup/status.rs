//! What a snapshot file holds, as etcd's tools tell it.

use std::path::Path;

use quorate_bolt::Bolt;
use quorate_mvcc::hash::crc32c;
use quorate_mvcc::record::read_revision_key;

use super::source::Source;
use super::{buckets, content};

/// What is in a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// The checksum of all that is in it: that of `etcdutl snapshot status`.
    pub hash: u32,
    /// The revision of the last change.
    pub revision: i64,
    /// How many keys all buckets have together; each change of a key of the store is one of them.
    pub total_keys: u64,
    /// How large it is without the hash behind it, in bytes.
    pub total_bytes: u64,
    /// Users who can't log in to an etcd that is made of it, as etcd does not know the hashes of their passwords.
    pub foreign_passwords: Vec<String>,
}

/// Reads all of a file, and verifies it.
///
/// # Errors
/// If it can't be read, or is damaged. The text is meant for the operator.
pub fn status(path: &Path, skip_hash_check: bool) -> Result<Status, String> {
    let source = Source::open(path, skip_hash_check)?;
    let explain = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let bolt = Bolt::open(&source.image).map_err(|error| explain(&error))?;
    let mut status = Status { total_bytes: bolt.used_bytes(), ..Status::default() };
    let mut names = bolt.buckets().map_err(|error| explain(&error))?;
    while let Some(name) = names.next().map_err(|error| explain(&error))? {
        status.hash = crc32c(status.hash, &name.key);
        let bucket = name.bucket().map_err(|error| explain(&error))?;
        let mut items = bolt.items(&bucket).map_err(|error| explain(&error))?;
        while let Some(item) = items.next().map_err(|error| explain(&error))? {
            status.hash = crc32c(crc32c(status.hash, &item.key), &item.value);
            status.total_keys += 1;
            if name.key == buckets::KEY {
                let revision = read_revision_key(&item.key);
                let revision = revision.ok_or_else(|| explain(&"a revision makes no sense"))?;
                status.revision = revision.0.main;
            }
        }
    }
    status.foreign_passwords =
        content::foreign_passwords(&bolt).map_err(|error| explain(&error))?;
    Ok(status)
}
