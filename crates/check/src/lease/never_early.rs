//! A lease does not end before its time: not within its time to live since it was granted or last kept
//! alive, unless a client revoked it.
//!
//! A renewal took effect after its call, so from then on counts the time that the server owes; and a
//! lease that was seen to be gone was gone when the answer came. The class of etcd #15247: a leader
//! that was stuck ends what its successor has renewed.

use alloc::format;
use alloc::string::String;

use super::{LeaseHistory, Rules, Seen, nanoseconds};

pub(super) fn check(lease: &LeaseHistory, rules: &Rules) -> Result<(), String> {
    let renewals = lease.observations.iter().filter_map(|it| match it.seen {
        Seen::Renewed { ttl } => Some((it.call, ttl)),
        _ => None,
    });
    let owed = |(call, ttl): (u64, i64)| {
        call.saturating_add(nanoseconds(ttl)).saturating_sub(rules.tolerance)
    };
    let until = renewals.map(owed).max().unwrap_or(0).max(owed((lease.call, lease.ttl)));
    let gone = lease.observations.iter().filter(|it| it.seen == Seen::Gone);
    for gone in gone {
        let Some(returned) = gone.returned else { continue };
        let is_revoked =
            lease.observations.iter().any(|it| it.seen == Seen::Revoked && it.call <= returned);
        if returned < until && !is_revoked {
            return Err(format!(
                "lease {} is gone at {returned} ns, and it was to live until {until} ns: {lease:?}",
                lease.id
            ));
        }
    }
    Ok(())
}
