//! The file of who a member is, as any text.

use super::{Identity, InitialCluster};

/// A file of this text, with a right checksum behind it.
///
/// # Panics
/// If what was read is not what is written of it.
pub fn of_file(text: &str) {
    let _ = Identity::parse(text);
    let body = format!("{}\n", text.trim_end_matches('\n'));
    let text = format!("{body}crc32 {:08x}\n", crc32fast::hash(body.as_bytes()));
    if let Some(identity) = Identity::parse(&text) {
        assert_eq!(identity.to_text(), text);
    }
}

/// A member of a cluster that is to be founded.
///
/// # Panics
/// If it can't read who it is.
pub fn of_founder(cluster: InitialCluster) {
    let InitialCluster { cluster_id, member_id, members } = cluster;
    let identity = Identity { cluster_id, member_id, founding: true, rejoining: None, members };
    assert_eq!(Identity::parse(&identity.to_text()), Some(identity));
}
