//! What is left of a lease is never more than it was granted, and an answer about it names what it was
//! granted.

use alloc::format;
use alloc::string::String;

use super::{LeaseHistory, Rules, Seen};

pub(super) fn check(lease: &LeaseHistory, _: &Rules) -> Result<(), String> {
    for observation in &lease.observations {
        let is_right = match observation.seen {
            Seen::Alive { remaining, granted } => granted == lease.ttl && remaining <= granted,
            Seen::Renewed { ttl } => ttl == lease.ttl,
            Seen::MaybeRenewed | Seen::Gone | Seen::Revoked => true,
        };
        if !is_right {
            return Err(format!(
                "lease {} was granted {} s, and is told to be {observation:?}",
                lease.id, lease.ttl
            ));
        }
    }
    Ok(())
}
