//! A lease does not live for ever: when its time is over and nobody has kept it alive, it and its keys
//! are gone within the grace, if there is a leader.
//!
//! A renewal took effect before its answer, so the time may count from there; one of unknown outcome may
//! have, too, and if it may still, nothing is demanded. Whoever leads anew gives the whole time again.
//! But none of that excuses a lease that was overdue before: what comes then comes too late.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::{LeaseHistory, Observation, Rules, Seen, nanoseconds};

pub(super) fn check(lease: &LeaseHistory, rules: &Rules) -> Result<(), String> {
    for seen in &lease.observations {
        if !matches!(seen.seen, Seen::Alive { .. } | Seen::Renewed { .. }) {
            continue;
        }
        let Some(until) = limit(lease, rules, seen.call) else { continue };
        if seen.call > until {
            return Err(format!(
                "lease {} is there at {} ns, and it was to be gone at {until} ns: {lease:?}",
                lease.id, seen.call
            ));
        }
    }
    Ok(())
}

/// Until when the lease may be there, by what happened before a moment; `None` if that is not known.
pub(super) fn limit(lease: &LeaseHistory, rules: &Rules, before: u64) -> Option<u64> {
    let whole = nanoseconds(lease.ttl).saturating_add(rules.grace);
    // What may have given it its whole time: from when on, and until when.
    let renewal = |it: &Observation| match it.seen {
        Seen::Renewed { .. } | Seen::MaybeRenewed => Some((it.call, it.returned)),
        _ => None,
    };
    let renewals = lease.observations.iter().filter_map(renewal).filter(|(call, _)| *call < before);
    let unsettled = rules.unsettled.iter().filter(|(from, _)| *from <= before);
    let mut given: Vec<(u64, Option<u64>)> =
        renewals.chain(unsettled.map(|(from, to)| (*from, Some(*to)))).collect();
    given.sort_unstable();
    let mut until = lease.returned.saturating_add(whole);
    for (from, to) in given {
        if from <= until {
            until = until.max(to?.saturating_add(whole));
        }
    }
    Some(until)
}
