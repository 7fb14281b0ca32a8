//! A client with leases: it grants one, hangs a key on it, renews it perhaps, and looks on until it is
//! gone.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use quorate_check::history::{Operation, Outcome, Request};
use quorate_check::lease::{LeaseHistory, Observation, Seen};
use quorate_mvcc::PutRequest;

use crate::checks::blackbox::recorder::Recorder;
use crate::checks::client::Client;
use crate::checks::dice::Dice;

/// What the keys on leases begin with. No client deletes them.
pub(super) const PREFIX: &str = "l/";

/// What leases are granted for, in seconds.
pub(super) const TTL_MIN: u64 = 2;
pub(super) const TTL_MAX: u64 = 4;

/// Grants one lease after the other until it is over.
pub(super) async fn run(who: u64, members: Vec<Client>, recorder: Arc<Recorder>, mut dice: Dice) {
    let who = 1000 + who;
    while !recorder.is_over() {
        let client = &members[dice.roll(members.len() as u64) as usize];
        let id = i64::try_from(recorder.unique()).expect("few numbers were given");
        let ttl = (TTL_MIN + dice.roll(TTL_MAX - TTL_MIN + 1)) as i64;
        let call = recorder.now();
        let granted = recorder.ask(who, client, Request::LeaseGrant { id, ttl }).await;
        let returned = recorder.now();
        // Its clock may end it at any time from now on.
        recorder.note(Operation {
            client: who,
            call,
            request: Request::LeaseRevoke { id },
            outcome: Outcome::Unknown,
        });
        if granted.is_none() {
            continue;
        }
        let key = Bytes::from(format!("{PREFIX}{id}"));
        let put = PutRequest { key, lease: id, ..PutRequest::default() };
        recorder.ask(who, client, Request::Put(put)).await;
        let mut lease = LeaseHistory { id, ttl, call, returned, observations: Vec::new() };
        let mut renewals = dice.roll(3);
        while !recorder.is_over() {
            let client = &members[dice.roll(members.len() as u64) as usize];
            let call = recorder.now();
            if renewals > 0 {
                renewals -= 1;
                let seen = match client.keep_alive(id).await {
                    Ok(ttl) if ttl > 0 => Seen::Renewed { ttl },
                    Ok(_) => Seen::Gone,
                    Err(_) => Seen::MaybeRenewed,
                };
                let returned = (seen != Seen::MaybeRenewed).then(|| recorder.now());
                lease.observations.push(Observation { call, returned, seen });
            } else if let Ok(answer) = client.time_to_live(id).await {
                let seen = match answer.ttl {
                    -1 => Seen::Gone,
                    remaining => Seen::Alive { remaining, granted: answer.granted_ttl },
                };
                lease.observations.push(Observation { call, returned: Some(recorder.now()), seen });
            }
            if lease.observations.last().is_some_and(|last| last.seen == Seen::Gone) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(200 + dice.roll(300))).await;
        }
        recorder.note_lease(lease);
    }
}
