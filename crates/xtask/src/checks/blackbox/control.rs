//! The control of the judge: a checker that never fired proves nothing. So of the evidence of every
//! cluster something is falsified, one thing at a time, and the judge has to object.

use bytes::Bytes;
use quorate_check::Violation;
use quorate_check::history::{Outcome, Request, Response};
use quorate_check::lease::{self, Observation, Seen};
use quorate_mvcc::watch::{Cancel, WatchResponse};

use crate::checks::blackbox::evidence::Evidence;
use crate::checks::blackbox::watchers::Watched;

/// A falsification: what it is, who has to notice it, how it is made (if there is something to make it
/// from), and who is asked.
struct Lie {
    what: &'static str,
    noticed_by: &'static str,
    tell: fn(&mut Evidence) -> Option<()>,
    ask: fn(&Evidence) -> Vec<Violation>,
}

const LIES: [Lie; 11] = [
    Lie {
        what: "a read answers with what nobody wrote",
        noticed_by: "linearizability",
        tell: falsify_a_read,
        ask: |evidence| evidence.linearizability().into_iter().collect(),
    },
    Lie {
        what: "a read answers with what nobody wrote",
        noticed_by: "replay",
        tell: falsify_a_read,
        ask: |evidence| evidence.replay().err().into_iter().collect(),
    },
    Lie {
        what: "an event does not come",
        noticed_by: "watch_reliable",
        tell: drop_an_event,
        ask: Evidence::watches,
    },
    Lie {
        what: "a watcher is told nothing of the end",
        noticed_by: "watch_silent",
        tell: silence_a_watcher,
        ask: Evidence::watches,
    },
    Lie {
        what: "a watch is ended, as history is gone that nobody compacted",
        noticed_by: "watch_cancel",
        tell: |evidence| {
            let one = evidence.watches.iter_mut().find(|one| !one.compacted.is_empty())?;
            let compacted = *one.compacted.last()?;
            let cancel =
                Some(Cancel::Compacted { compact_revision: compacted.max(evidence.last) + 1 });
            one.watch.responses.push(WatchResponse { cancel, ..WatchResponse::default() });
            one.compacted.push(compacted);
            Some(())
        },
        ask: Evidence::watches,
    },
    Lie {
        what: "an event does not say what was before it, which nobody had compacted yet",
        noticed_by: "watch_prev_kv",
        tell: |evidence| {
            let oldest = evidence.remains.from;
            evidence.watches.iter_mut().find_map(|one| {
                let responses = one.watch.responses.iter_mut().zip(&one.compacted);
                let mut events = responses.flat_map(|(response, compacted)| {
                    response.events.iter_mut().map(move |event| (event, *compacted))
                });
                // The state before it is compacted in the end, so only the time tells.
                let (event, _) = events.find(|(event, compacted)| {
                    let before = event.kv.mod_revision - 1;
                    *compacted <= before && before < oldest && event.prev_kv.is_some()
                })?;
                event.prev_kv = None;
                Some(())
            })
        },
        ask: Evidence::watches,
    },
    Lie {
        what: "a compaction that was confirmed is not done",
        noticed_by: "history_left",
        tell: |evidence| {
            let later = evidence.remains.from + 1;
            let mut compactions = evidence.history.iter_mut().rev();
            let revision = compactions.find_map(|operation| match &mut operation.request {
                Request::Compact { revision } if has_succeeded(&operation.outcome) => {
                    Some(revision)
                }
                _ => None,
            })?;
            (*revision, evidence.compacted) = (later, later);
            Some(())
        },
        ask: |evidence| evidence.history_left().err().into_iter().collect(),
    },
    Lie {
        what: "a compaction takes a key with it",
        noticed_by: "history_left",
        tell: |evidence| evidence.remains.keys.pop().map(drop),
        ask: |evidence| evidence.history_left().err().into_iter().collect(),
    },
    Lie {
        what: "a change is told of otherwise later",
        noticed_by: "history_left",
        tell: |evidence| {
            evidence.remains.changes.last_mut()?.kv.value =
                Bytes::from_static(b"nobody wrote this");
            Some(())
        },
        ask: |evidence| evidence.history_left().err().into_iter().collect(),
    },
    Lie {
        what: "a lease does not end",
        noticed_by: "lease_expiry",
        tell: |evidence| {
            let rules = &evidence.rules;
            let of = |one: &_| lease::limit(one, rules);
            let (one, limit) =
                evidence.leases.iter_mut().find_map(|one| of(one).map(|limit| (one, limit)))?;
            let (call, returned) = (limit + 1, Some(limit + 2));
            let seen = Seen::Alive { remaining: 0, granted: one.ttl };
            one.observations.push(Observation { call, returned, seen });
            Some(())
        },
        ask: Evidence::leases,
    },
    Lie {
        what: "a lease ends at once",
        noticed_by: "lease_never_early",
        tell: |evidence| {
            let one = evidence.leases.first_mut()?;
            let (call, returned) = (one.returned, Some(one.returned));
            one.observations.push(Observation { call, returned, seen: Seen::Gone });
            Some(())
        },
        ask: Evidence::leases,
    },
];

fn has_succeeded(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Known { reply: Ok(_), .. })
}

/// The first linearizable read that found something: that no order explains it is known only when all
/// that may have come before was tried, and the more of that is of unknown outcome, the longer it takes.
fn falsify_a_read(evidence: &mut Evidence) -> Option<()> {
    for operation in &mut evidence.history {
        if operation.request.is_serializable() {
            continue;
        }
        if let Outcome::Known { reply: Ok(Response::Range(range)), .. } = &mut operation.outcome
            && let Some(kv) = range.kvs.first_mut()
        {
            kv.value = Bytes::from_static(b"nobody wrote this");
            return Some(());
        }
    }
    None
}

/// One of a revision between the first and the last that came to a watch.
fn drop_an_event(evidence: &mut Evidence) -> Option<()> {
    for Watched { watch, .. } in &mut evidence.watches {
        let revisions = || watch.events().map(|event| event.kv.mod_revision);
        let (Some(first), Some(last)) = (revisions().min(), revisions().max()) else { continue };
        for response in &mut watch.responses {
            let is_between = |revision| first < revision && revision < last;
            let events = &mut response.events;
            if let Some(at) = events.iter().position(|event| is_between(event.kv.mod_revision)) {
                events.remove(at);
                return Some(());
            }
        }
    }
    None
}

fn silence_a_watcher(evidence: &mut Evidence) -> Option<()> {
    let (last, mut dropped) = (evidence.last, 0);
    for one in evidence.watches.iter_mut().filter(|one| one.watcher == 0) {
        for response in &mut one.watch.responses {
            let before = response.events.len();
            response.events.retain(|event| event.kv.mod_revision < last);
            dropped += before - response.events.len();
        }
    }
    (dropped > 0).then_some(())
}

/// Tells the judge all lies that a property has to notice of which something was seen. How many were noticed,
/// and what was not, or what there was nothing to tell of.
pub(crate) fn lie(evidence: &Evidence, was_seen: impl Fn(&str) -> bool) -> (usize, Vec<String>) {
    let (mut told, mut failed) = (0, Vec::new());
    for Lie { what, noticed_by, tell, ask } in LIES {
        if !was_seen(noticed_by) {
            continue;
        }
        told += 1;
        let mut false_evidence = evidence.clone();
        if tell(&mut false_evidence).is_none() {
            failed.push(format!("control: nothing was seen to falsify so that {what}"));
        } else if !ask(&false_evidence).iter().any(|said| said.property == noticed_by) {
            failed.push(format!("control: {noticed_by} does not notice that {what}"));
        }
    }
    (told - failed.len(), failed)
}
