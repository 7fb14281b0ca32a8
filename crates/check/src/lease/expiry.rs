//! A lease does not live for ever: when its time is over and nobody has kept it alive, it and its keys
//! are gone within the grace, if there is a leader.
//!
//! A renewal took effect before its answer, so the time may count from there; one of unknown outcome may
//! have, too, and if it may still, nothing is demanded. Whoever leads anew gives the whole time again.

use alloc::format;
use alloc::string::String;

use super::{LeaseHistory, Rules, Seen, nanoseconds};

pub(super) fn check(lease: &LeaseHistory, rules: &Rules) -> Result<(), String> {
    for seen in &lease.observations {
        if !matches!(seen.seen, Seen::Alive { .. } | Seen::KeyAlive | Seen::Renewed { .. }) {
            continue;
        }
        let Some(since) = last_given(lease, rules, seen.call) else { continue };
        let until = since.saturating_add(nanoseconds(lease.ttl)).saturating_add(rules.grace);
        if seen.call > until {
            return Err(format!(
                "lease {} is there at {} ns, and it was to be gone at {until} ns: {lease:?}",
                lease.id, seen.call
            ));
        }
    }
    Ok(())
}

/// The last moment before another at which the lease may have been given its whole time, if that is
/// known.
fn last_given(lease: &LeaseHistory, rules: &Rules, before: u64) -> Option<u64> {
    let mut last = lease.returned;
    for renewal in &lease.observations {
        let gives = matches!(renewal.seen, Seen::Renewed { .. } | Seen::MaybeRenewed);
        if gives && renewal.call < before {
            last = last.max(renewal.returned?);
        }
    }
    let elected = rules.leader_changes.iter().filter(|at| **at <= before).max();
    Some(last.max(elected.copied().unwrap_or(0)))
}
