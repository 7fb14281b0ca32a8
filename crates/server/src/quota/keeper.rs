//! Raises the alarm for want of space, and takes it back when there is space again.
//!
//! Every member looks at its own store, raises the alarm that bears its id, and takes it back when there is space
//! again: nobody else knows how far it is with giving space back. Of members that are gone or failed, whoever leads takes
//! such alarms back when its own store has space. Between the size at which an alarm is raised and the one at which it
//! goes lies a tenth of the quota: otherwise it would come and go with every few writes.
//!
//! What an operator raised, nobody here takes back.

use std::sync::Arc;
use std::time::Duration;

use quorate_host::{HostStatus, NodeId, PeerState};
use quorate_mvcc::{Alarm, AlarmCommand, AlarmKind, Alarms, Caller, Command};
use tokio::time::sleep;

use super::{clear_mark, soft_limit};
use crate::member::Member;

/// How often to look how large the store is. A request that was refused is told of at once.
const LOOK: Duration = Duration::from_millis(500);

/// See the module.
pub(crate) struct Keeper {
    member: Arc<Member>,
    /// The alarms that were told in the log.
    told: Vec<Alarm>,
    /// Whether it was told that the store is nearly full.
    was_nearly_full: bool,
}

impl Keeper {
    pub(crate) fn new(member: Arc<Member>) -> Self {
        Self { member, told: Vec::new(), was_nearly_full: false }
    }

    /// Ends with the server.
    pub(crate) async fn run(mut self) {
        let mut stop = self.member.stop.clone();
        loop {
            let was_refused = tokio::select! {
                () = sleep(LOOK) => false,
                () = self.member.refused.notified() => true,
                () = stop.requested() => return,
            };
            self.tell();
            for command in self.due(was_refused) {
                let member = &*self.member;
                let proposed = member.propose(&Caller::Server, Command::Alarm(command));
                let proposed = tokio::select! {
                    proposed = proposed => proposed,
                    () = stop.requested() => return,
                };
                // It is tried again at the next look, for as long as it is to be done.
                if let Err(failure) = proposed {
                    let line = member.log.debug("an alarm was not changed yet");
                    drop(
                        line.with("change", format_args!("{command:?}"))
                            .with("error", failure.text()),
                    );
                }
            }
            self.tell();
        }
    }

    /// The changes that this member is to propose.
    fn due(&self, was_refused: bool) -> Vec<AlarmCommand> {
        let member = &*self.member;
        let (state, status) = (member.published.state(), member.handle.status());
        let is_away = |id| is_away(&status, NodeId(id));
        let view = View {
            member: member.identity.member_id,
            is_away: status.is_leader().then_some(&is_away),
            quota: member.limits.quota.bytes,
            bytes: state.bytes_in_use(),
            was_refused,
            alarms: state.alarms(),
        };
        view.due()
    }

    /// Tells what has changed.
    fn tell(&mut self) {
        let member = &*self.member;
        let state = member.published.state();
        let now: Vec<Alarm> = state.alarms().iter().collect();
        let is_in = |all: &[Alarm], one: &Alarm| {
            all.iter().any(|other| (other.kind, other.member) == (one.kind, one.member))
        };
        let about = |line: crate::log::Line<'_>, alarm: &Alarm| {
            let line = line.with("alarm", name(alarm.kind));
            drop(line.with("member-id", format_args!("{:x}", alarm.member)));
        };
        for alarm in now.iter().filter(|alarm| !is_in(&self.told, alarm)) {
            about(
                member.log.warn("an alarm is raised: writes are refused until it is gone"),
                alarm,
            );
        }
        for alarm in self.told.iter().filter(|alarm| !is_in(&now, alarm)) {
            about(member.log.info("an alarm is gone"), alarm);
        }
        self.told = now;

        let Some(quota) = member.limits.quota.bytes else { return };
        let bytes = state.bytes_in_use();
        let is_nearly_full = soft_limit(quota) <= bytes;
        if is_nearly_full != self.was_nearly_full {
            self.was_nearly_full = is_nearly_full;
            let line = if is_nearly_full {
                member.log.warn(
                    "the store has nearly reached its quota: compact, delete, or raise the quota",
                )
            } else {
                member.log.info("the store is well below its quota again")
            };
            drop(line.number("bytes-in-use", bytes).number("quota-bytes", quota));
        }
    }
}

/// Whether a member is gone or failed, for all that this one knows, which leads.
fn is_away(status: &HostStatus, id: NodeId) -> bool {
    let health = status.peers.iter().find(|peer| peer.id == id).map(|peer| &peer.health);
    let is_silent = |state| matches!(state, PeerState::Failed | PeerState::Leaving);
    health.is_some_and(|health| is_silent(health.state)) || !status.membership.contains(id)
}

/// An alarm as etcd calls it.
pub(crate) fn name(kind: AlarmKind) -> &'static str {
    match kind {
        AlarmKind::NoSpace => "NOSPACE",
        AlarmKind::Corrupt => "CORRUPT",
    }
}

/// What a member has to know to say which alarms are to be changed.
#[derive(Clone, Copy)]
struct View<'a> {
    /// Its id.
    member: u64,
    /// If it leads, who is gone or failed.
    is_away: Option<&'a dyn Fn(u64) -> bool>,
    quota: Option<u64>,
    /// What is in use of its store.
    bytes: u64,
    /// Whether a request was refused because there was no room for it.
    was_refused: bool,
    alarms: &'a Alarms,
}

impl View<'_> {
    /// The changes that this member is to propose.
    fn due(&self) -> Vec<AlarmCommand> {
        let mut due = Vec::new();
        let own = self.alarms.get(AlarmKind::NoSpace, self.member);
        let mark = self.quota.map(clear_mark);
        let has_room = mark.is_none_or(|mark| self.bytes < mark);
        let raise = |clears_below| {
            AlarmCommand::Activate(Alarm {
                member: self.member,
                kind: AlarmKind::NoSpace,
                clears_below,
            })
        };
        let clear = |alarm: &Alarm| {
            let clears_below = alarm.clears_below?;
            Some(AlarmCommand::Clear { member: alarm.member, clears_below })
        };
        match (own, self.quota, mark) {
            // A request that has no room though most of the store is free is refused, and no reason to refuse others.
            (None, Some(quota), Some(mark))
                if quota <= self.bytes || (self.was_refused && mark <= self.bytes) =>
            {
                due.push(raise(Some(mark)));
            }
            (Some(alarm), ..) if has_room => due.extend(clear(&alarm)),
            // It was raised by another quota, before this member was started with the present one.
            (Some(alarm), _, mark)
                if alarm.clears_below.is_some() && alarm.clears_below != mark =>
            {
                due.push(raise(mark));
            }
            _ => {}
        }
        if let Some(is_away) = self.is_away
            && has_room
        {
            let alarms = self.alarms.iter().filter(|alarm| alarm.kind == AlarmKind::NoSpace);
            let of_others = alarms.filter(|alarm| alarm.member != self.member);
            due.extend(of_others.filter(|it| is_away(it.member)).filter_map(|it| clear(&it)));
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use quorate_host::Machine as _;
    use quorate_raft::EntryId;

    use super::*;
    use crate::witness::no_state;

    /// The member whose view it is, another, and one that is away.
    const OWN: u64 = 1;
    const OTHER: u64 = 2;
    const AWAY: u64 = 3;
    const QUOTA: u64 = 1000;

    fn raised(member: u64, clears_below: Option<u64>) -> Alarm {
        Alarm { member, kind: AlarmKind::NoSpace, clears_below }
    }

    fn due(
        alarms: &[Alarm],
        quota: Option<u64>,
        bytes: u64,
        refused: bool,
        leads: bool,
    ) -> Vec<AlarmCommand> {
        let mut store = no_state();
        for (index, alarm) in (1..).zip(alarms) {
            let command = Command::Alarm(AlarmCommand::Activate(*alarm)).encode();
            let entry = EntryId::new(1, index);
            store.apply(entry, &command).expect("in memory");
            store.commit(entry).expect("in memory");
        }
        let state = store.read_state();
        let alarms = state.alarms();
        let is_away: &dyn Fn(u64) -> bool = &|id| id == AWAY;
        let is_away = leads.then_some(is_away);
        View { member: OWN, is_away, quota, bytes, was_refused: refused, alarms }.due()
    }

    #[test]
    fn an_alarm_is_raised_at_the_quota_and_goes_below_the_mark() {
        let (none, own) = (&[][..], &[raised(OWN, Some(900))][..]);
        let (other, away) = (&[raised(OTHER, Some(500))][..], &[raised(AWAY, Some(500))][..]);
        let by_hand = &[raised(OWN, None), raised(OTHER, None), raised(AWAY, None)][..];
        let raise = AlarmCommand::Activate(raised(OWN, Some(900)));
        let clear = |member, clears_below| AlarmCommand::Clear { member, clears_below };
        let quota = Some(QUOTA);
        for (alarms, quota, bytes, refused, leads, expected) in [
            // Raised by whose store it is, at the quota, or where something was refused and little is left.
            (none, quota, 999, false, false, vec![]),
            (none, quota, 1000, false, false, vec![raise]),
            (none, quota, 900, true, false, vec![raise]),
            (none, quota, 899, true, true, vec![]),
            (other, quota, 1000, false, false, vec![raise]),
            (none, None, u64::MAX, true, true, vec![]),
            // It stays between mark and quota, and goes below.
            (own, quota, 1000, true, true, vec![]),
            (own, quota, 900, true, true, vec![]),
            (own, quota, 899, false, false, vec![clear(OWN, 900)]),
            (own, quota, 899, false, true, vec![clear(OWN, 900)]),
            // That of another member is its own affair, unless it is away and this one leads, by whatever quota it was.
            (other, quota, 0, false, true, vec![]),
            (away, quota, 0, false, false, vec![]),
            (away, quota, 899, false, true, vec![clear(AWAY, 500)]),
            (away, quota, 900, false, true, vec![]),
            (away, None, 1000, false, true, vec![clear(AWAY, 500)]),
            // By hand is by hand.
            (by_hand, quota, 0, false, true, vec![]),
            (by_hand, quota, 2000, true, true, vec![]),
            // A member that was started with another quota says so, or has no reason any more.
            (own, Some(2000), 1000, false, false, vec![clear(OWN, 900)]),
            (
                own,
                Some(2000),
                1800,
                false,
                false,
                vec![AlarmCommand::Activate(raised(OWN, Some(1800)))],
            ),
            (
                own,
                Some(500),
                480,
                false,
                true,
                vec![AlarmCommand::Activate(raised(OWN, Some(450)))],
            ),
            (own, None, 1000, false, false, vec![clear(OWN, 900)]),
        ] {
            let found = due(alarms, quota, bytes, refused, leads);
            assert_eq!(found, expected, "{alarms:?} {quota:?} {bytes} {refused} {leads}");
        }
    }
}
