//! What a membership says about a member: where others reach it, and what is to become of it as a learner.

use bytes::Bytes;
use quorate_host::{Membership, NodeId};

use crate::config::Url;
use crate::identity::Identity;

/// Stands behind the URLs of a learner that is to become a voter. An empty line ends the addresses. The id of a voter
/// may follow, which then leaves in the same step.
const WANTS_VOTE: &str = "\n\nvote ";

/// Stands behind the URLs of a learner that waits for a voter to fail.
const IS_SPARE: &str = "\n\nspare";

/// What is to become of a learner when it has caught up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Later {
    /// Nothing by itself.
    Stays,
    /// It becomes a voter.
    Votes,
    /// It becomes a voter in the place of this one.
    Replaces(u64),
    /// It may take the place of a voter that has failed. Not every learner may: one that serves reads on another
    /// continent should not vote because somebody pulled a plug here.
    Spare,
}

/// What a membership says about a member.
pub(crate) fn about(peer_urls: &[String], later: Later) -> Bytes {
    let urls = peer_urls.join("\n");
    match later {
        Later::Stays => urls.into(),
        Later::Votes => format!("{urls}{WANTS_VOTE}").into(),
        Later::Replaces(old) => format!("{urls}{WANTS_VOTE}{old:x}").into(),
        Later::Spare => format!("{urls}{IS_SPARE}").into(),
    }
}

/// Where others reach a member.
pub(crate) fn peer_urls(about: &[u8]) -> Vec<String> {
    let text = str::from_utf8(about).unwrap_or_default();
    text.lines().take_while(|line| !line.is_empty()).map(str::to_owned).collect()
}

pub(super) fn later(about: &[u8]) -> Later {
    let text = str::from_utf8(about).unwrap_or_default();
    match text.split_once(WANTS_VOTE) {
        None if text.ends_with(IS_SPARE) => Later::Spare,
        None => Later::Stays,
        Some((_, old)) => u64::from_str_radix(old, 16).map_or(Later::Votes, Later::Replaces),
    }
}

/// What is to become of a member.
pub(super) fn later_of(members: &Membership, id: NodeId) -> Later {
    members.about.get(&id).map_or(Later::Stays, |about| later(about))
}

/// Whoever is a voter no longer waits to be one.
pub(super) fn forget_wish(wanted: &mut Membership, id: NodeId) {
    if let Some(told) = wanted.about.get_mut(&id) {
        *told = about(&peer_urls(told), Later::Stays);
    }
}

/// Where others reach a member. Of founders the membership may say nothing.
pub(crate) fn urls_of(id: NodeId, members: &Membership, identity: &Identity) -> Vec<String> {
    match members.about.get(&id).map(|about| peer_urls(about)) {
        Some(urls) if !urls.is_empty() => urls,
        _ => {
            let known = identity.members.iter().find(|known| known.id == id.0);
            let urls = known.map(|known| known.peer_urls.iter().map(Url::to_string).collect());
            urls.unwrap_or_default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_ends_where_the_wish_begins() {
        let urls = ["http://a:1", "http://a:2"].map(str::to_owned);
        for later in [Later::Stays, Later::Votes, Later::Replaces(0xabc), Later::Spare] {
            let told = about(&urls, later);
            assert_eq!(peer_urls(&told), urls);
            assert_eq!(super::later(&told), later);
        }
    }
}
