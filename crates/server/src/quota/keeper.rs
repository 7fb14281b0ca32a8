//! Raises the alarm for want of space, and takes it back when there is space again.
//!
//! Every member looks at its own store, raises the alarm that bears its id and says with it below which size it goes
//! again. Whoever leads takes such alarms back, whosever they are, so that one of a member that is gone does not stay for
//! ever. Between the size at which it is raised and the one at which it goes lies a tenth of the quota: otherwise it
//! would come and go with every few writes.
//!
//! What an operator raised, nobody here takes back.

use std::sync::Arc;
use std::time::Duration;

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
        let state = member.published.state();
        let view = View {
            member: member.identity.member_id,
            leads: member.handle.status().is_leader(),
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

/// An alarm as etcd calls it.
pub(crate) fn name(kind: AlarmKind) -> &'static str {
    match kind {
        AlarmKind::NoSpace => "NOSPACE",
        AlarmKind::Corrupt => "CORRUPT",
    }
}

/// What a member has to know to say which alarms are to be changed.
#[derive(Clone, Copy, Debug)]
struct View<'a> {
    /// Its id.
    member: u64,
    leads: bool,
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
            // It was raised by another quota, before this member was started with the present one.
            (Some(alarm), _, mark)
                if alarm.clears_below.is_some() && alarm.clears_below != mark =>
            {
                match mark.filter(|mark| *mark <= self.bytes) {
                    Some(mark) => due.push(raise(Some(mark))),
                    None => due.extend(clear(&alarm)),
                }
            }
            _ => {}
        }
        let has_room = |alarm: &Alarm| alarm.clears_below.is_some_and(|mark| self.bytes < mark);
        if self.leads && due.is_empty() {
            let of_space = self.alarms.iter().filter(|alarm| alarm.kind == AlarmKind::NoSpace);
            due.extend(of_space.filter(has_room).filter_map(|alarm| clear(&alarm)));
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

    /// The member whose view it is, and another.
    const OWN: u64 = 1;
    const OTHER: u64 = 2;
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
        View { member: OWN, leads, quota, bytes, was_refused: refused, alarms }.due()
    }

    #[test]
    fn an_alarm_is_raised_at_the_quota_and_goes_below_the_mark() {
        let (none, own) = (&[][..], &[raised(OWN, Some(900))][..]);
        let other = &[raised(OTHER, Some(500))][..];
        let by_hand = &[raised(OWN, None), raised(OTHER, None)][..];
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
            // It stays between mark and quota, and whoever leads takes it back below.
            (own, quota, 1000, true, true, vec![]),
            (own, quota, 900, true, true, vec![]),
            (own, quota, 899, false, false, vec![]),
            (own, quota, 899, false, true, vec![clear(OWN, 900)]),
            (other, quota, 499, false, true, vec![clear(OTHER, 500)]),
            (other, quota, 500, false, true, vec![]),
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
