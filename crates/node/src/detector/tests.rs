//! What the detector says, told as a script; and that it says what a naive reading of all that ever
//! happened says.

extern crate std;

use std::string::ToString as _;
use std::vec;

use proptest::collection::vec;
use proptest::prelude::*;

use super::rhythm::tests::exact_phi;
use super::*;

const HEARTBEAT: Duration = Duration::from_millis(100);

/// The peers of node 1.
const PEER: NodeId = NodeId(2);
const OTHER: NodeId = NodeId(3);

fn at(millis: u64) -> Time {
    Time(millis * 1_000_000)
}

fn process(started_ms: u64) -> Incarnation {
    Incarnation { started_ms, process: 7 }
}

/// A detector, and the time.
struct Scene {
    now: u64,
    detector: Detector,
    changes: Vec<PeerChange>,
}

impl Scene {
    fn new() -> Self {
        let mut detector = Detector::new();
        detector.add([PEER, OTHER], HEARTBEAT, at(0));
        Self { now: 0, detector, changes: Vec::new() }
    }

    /// One in which the peer answers regularly.
    fn of_a_leader() -> Self {
        let mut scene = Self::new();
        scene.detector.await_peer(at(0), PEER, &mut scene.changes);
        scene.beats(20);
        assert_eq!(scene.told(), ["idle → active"]);
        scene
    }

    fn beats(&mut self, count: u64) {
        for _ in 0..count {
            self.pass(100);
            self.hear();
        }
    }

    /// Time passes. The detector is looked at with each heartbeat.
    fn pass(&mut self, millis: u64) {
        let end = self.now + millis;
        while self.now < end {
            self.now = (self.now + 100).min(end);
            self.detector.look(at(self.now), &mut self.changes);
        }
    }

    fn hear(&mut self) {
        self.detector.heard(at(self.now), PEER, &mut self.changes);
    }

    fn news(&mut self, news: &News) {
        self.detector.news(at(self.now), news, &mut self.changes);
    }

    fn meet(&mut self, started_ms: u64) {
        let about = Arc::new(About { zone: "a".into(), ..About::default() });
        self.news(&News::Met { peer: PEER, incarnation: process(started_ms), about });
    }

    fn connect(&mut self, up: bool) {
        self.news(&News::Connected { peer: PEER, up });
    }

    /// The other one says so of the peer.
    fn is_told(&mut self, state: PeerState, started_ms: u64, age: u64) {
        let incarnation = process(started_ms);
        let view = View { of: PEER, incarnation, state, age: Duration::from_millis(age) };
        self.news(&News::Told { by: OTHER, view });
    }

    /// The peer says that this process of it ends.
    fn leaves(&mut self, started_ms: u64) {
        let (state, incarnation) = (PeerState::Leaving, process(started_ms));
        let view = View { of: PEER, incarnation, state, age: Duration::ZERO };
        self.news(&News::Told { by: PEER, view });
    }

    fn health(&self) -> PeerHealth {
        self.detector.peers().next().expect("there are two")
    }

    /// How the peer has changed since the last call.
    fn told(&mut self) -> Vec<String> {
        let changes = self.changes.drain(..).filter(|change| change.peer == PEER);
        let text = |change: PeerChange| {
            let told = change.told_by.map(|by| std::format!(" says {by}")).unwrap_or_default();
            std::format!("{} → {}{told}", change.from.name(), change.to.name())
        };
        changes.map(text).collect()
    }
}

#[test]
fn silence_is_suspicious_then_a_failure_and_a_word_ends_it() {
    let mut scene = Scene::of_a_leader();
    scene.pass(300);
    assert_eq!(scene.told(), [""; 0]);
    scene.pass(100);
    assert_eq!(scene.told(), ["active → suspect"]);
    scene.hear();
    assert_eq!(scene.told(), ["suspect → active"]);
    scene.pass(2_000);
    assert_eq!(scene.told(), ["active → suspect", "suspect → failed"]);
    let health = scene.health();
    // Ten rounds and a little more: the pause before has become part of its rhythm.
    assert_eq!((health.since, health.last_contact), (at(3_600), Some(at(2_400))));
    assert_eq!(health.phi(at(4_400)), Phi::MAX);
    scene.hear();
    assert_eq!(scene.told(), ["failed → active"]);
    assert!(scene.health().phi(at(scene.now)) < Phi::of(1));
}

#[test]
fn nobody_is_blamed_for_a_silence_that_nobody_listened_to() {
    let mut scene = Scene::new();
    scene.pass(10_000);
    assert_eq!(scene.health().phi(at(scene.now)), Phi(0), "it owes us nothing");
    scene.detector.await_peer(at(scene.now), PEER, &mut scene.changes);
    scene.pass(300);
    assert_eq!(scene.told(), [""; 0], "it has just begun to");
    scene.hear();
    scene.detector.release_peer(at(scene.now), PEER, &mut scene.changes);
    scene.pass(10_000);
    assert_eq!(scene.told(), ["idle → active", "active → idle"]);
}

#[test]
fn a_suspicion_outlives_the_wait() {
    let mut scene = Scene::of_a_leader();
    scene.pass(500);
    scene.detector.release_peer(at(scene.now), PEER, &mut scene.changes);
    scene.pass(10_000);
    assert_eq!(scene.told(), ["active → suspect"], "that nobody asks any more clears nobody");
    scene.hear();
    assert_eq!(scene.told(), ["suspect → idle"]);
}

#[test]
fn two_groups_wait_for_one_peer() {
    let mut scene = Scene::of_a_leader();
    scene.detector.await_peer(at(scene.now), PEER, &mut scene.changes);
    scene.detector.release_peer(at(scene.now), PEER, &mut scene.changes);
    assert_eq!(scene.told(), [""; 0]);
    scene.pass(500);
    assert_eq!(scene.told(), ["active → suspect"]);
}

#[test]
fn what_this_node_slept_is_nobodys_silence() {
    let mut scene = Scene::of_a_leader();
    scene.now += 5_000;
    scene.detector.overslept(at(scene.now), Duration::from_millis(4_900));
    scene.pass(200);
    assert_eq!(scene.told(), [""; 0]);
    scene.pass(200);
    assert_eq!(scene.told(), ["active → suspect"], "but it has had the time to answer since");
}

#[test]
fn who_can_not_be_reached_is_missed_by_those_who_have_nothing_to_say_to_it_too() {
    let mut scene = Scene::new();
    scene.connect(true);
    scene.pass(5_000);
    scene.connect(false);
    scene.pass(200);
    assert_eq!(scene.told(), [""; 0], "most are back by then");
    scene.pass(1_000);
    assert_eq!(scene.told(), ["idle → suspect", "suspect → failed"]);
    scene.meet(1);
    scene.connect(true);
    scene.pass(5_000);
    assert_eq!(scene.told(), ["failed → idle"]);
}

#[test]
fn who_leaves_is_not_suspected_and_another_process_of_it_is_there() {
    let mut scene = Scene::of_a_leader();
    scene.meet(1);
    scene.leaves(9);
    assert_eq!(scene.told(), [""; 0], "that is another process");
    scene.leaves(1);
    assert_eq!(scene.told(), ["active → leaving"]);
    scene.beats(3);
    scene.connect(false);
    scene.pass(60_000);
    assert_eq!(scene.told(), [""; 0]);
    scene.meet(2);
    assert_eq!(scene.told(), ["leaving → active"]);
    assert_eq!(scene.health().about.zone, "a");
}

#[test]
fn others_tell_what_is_not_seen_from_here() {
    let mut scene = Scene::new();
    scene.meet(1);
    scene.pass(5_000);
    scene.is_told(PeerState::Failed, 1, 2_000);
    assert_eq!(scene.told(), ["idle → failed says n3"]);
    assert_eq!(scene.health().since, at(3_000));
    scene.is_told(PeerState::Suspect, 1, 3_000);
    assert_eq!(scene.told(), [""; 0], "it rests on something older");
    scene.is_told(PeerState::Active, 1, 500);
    assert_eq!(scene.told(), ["failed → idle"], "alive then is not alive now");
    assert_eq!(scene.health().since, at(5_000));
    scene.is_told(PeerState::Failed, 1, 0);
    scene.hear();
    assert_eq!(scene.told(), ["idle → failed says n3", "failed → idle"]);
    scene.is_told(PeerState::Failed, 1, 0);
    assert_eq!(scene.told(), [""; 0], "it was heard at that very moment");
}

#[test]
fn what_is_said_of_a_process_is_not_said_of_the_next() {
    let mut scene = Scene::new();
    scene.meet(5);
    scene.pass(1_000);
    scene.is_told(PeerState::Failed, 4, 0);
    assert_eq!(scene.told(), [""; 0]);
    scene.is_told(PeerState::Failed, 6, 0);
    assert_eq!(scene.told(), ["idle → failed says n3"]);
    scene.is_told(PeerState::Active, 5, 0);
    assert_eq!(scene.told(), [""; 0]);
    // A clock was set back. What is met now is what there is.
    scene.pass(1_000);
    scene.meet(2);
    assert_eq!(scene.told(), ["failed → idle"]);
}

#[test]
fn who_hears_it_need_not_be_told() {
    let mut scene = Scene::of_a_leader();
    scene.meet(1);
    scene.pass(50);
    scene.is_told(PeerState::Failed, 1, 0);
    assert_eq!(scene.told(), [""; 0]);
    assert!(scene.detector.is_good(PEER));
    // And nobody else's word makes it fit for a task here.
    scene.pass(500);
    scene.is_told(PeerState::Active, 1, 0);
    assert_eq!(scene.told(), ["active → suspect", "suspect → idle says n3"]);
    assert!(!scene.detector.is_good(PEER));
}

#[test]
fn strangers_and_what_they_say_are_not_kept() {
    let mut scene = Scene::of_a_leader();
    let stranger = NodeId(9);
    let (state, incarnation) = (PeerState::Failed, process(1));
    let view = |of| View { of, incarnation, state, age: Duration::ZERO };
    scene.pass(1);
    scene.news(&News::Told { by: stranger, view: view(PEER) });
    scene.news(&News::Told { by: OTHER, view: view(stranger) });
    scene.detector.heard(at(scene.now), stranger, &mut scene.changes);
    assert_eq!(scene.told(), [""; 0]);
    assert_eq!(scene.detector.peers().count(), 2);
}

#[test]
fn views_are_told_with_the_age_of_their_evidence() {
    let mut scene = Scene::of_a_leader();
    scene.pass(50);
    let view = |scene: &Scene| scene.detector.views(at(scene.now)).next();
    let age = |millis| Duration::from_millis(millis);
    let told = |state, age| View { of: PEER, incarnation: Incarnation::default(), state, age };
    assert_eq!(view(&scene), Some(told(PeerState::Active, age(50))));
    scene.pass(450);
    assert_eq!(view(&scene), Some(told(PeerState::Suspect, age(50))));
    scene.hear();
    scene.detector.release_peer(at(scene.now), PEER, &mut scene.changes);
    assert_eq!(view(&scene), None);
}

/// Something that happens to the peer.
#[derive(Clone, Copy, Debug)]
enum Happening {
    Heard,
    Awaited,
    Released,
    Met(u64),
    Connected(bool),
    Told(PeerState, u64, u64),
    Leaves(u64),
    Nothing,
}

fn happening() -> impl Strategy<Value = Happening> {
    let state = prop::sample::select(PeerState::ALL.to_vec());
    prop_oneof![
        12 => Just(Happening::Heard),
        2 => Just(Happening::Awaited),
        1 => Just(Happening::Released),
        1 => (0..3_u64).prop_map(Happening::Met),
        1 => any::<bool>().prop_map(Happening::Connected),
        3 => (state, 0..3_u64, 0..1_500_u64).prop_map(|(state, of, age)| Happening::Told(state, of, age)),
        1 => (0..3_u64).prop_map(Happening::Leaves),
        4 => Just(Happening::Nothing),
    ]
}

/// All that ever happened, with the time of each, ascending. After everything that happens there is a look.
#[derive(Default)]
struct Chronicle {
    entries: Vec<(u64, Happening)>,
    /// Of each entry: what the silence was like, and what the peer looked like to this node alone.
    looks: Vec<(PeerState, Verdict)>,
}

/// What the peer looks like to this node alone, and when that was found.
type Verdict = (PeerState, u64);

impl Chronicle {
    /// Goes on with this; false if what follows is too close to call in floating point.
    fn go_on(&mut self, now: u64, happening: Happening) -> bool {
        self.entries.push((now, happening));
        let Some(judgement) = self.read().judgement(now) else { return false };
        self.looks.push((judgement, (PeerState::Idle, 0)));
        let own = self.read().own();
        self.looks.last_mut().expect("just pushed").1 = own;
        true
    }

    fn read(&self) -> Reading<'_> {
        Reading { entries: &self.entries, looks: &self.looks }
    }
}

/// A chronicle up to some entry. Every answer is found by reading all of it; only how each look judged the
/// silence, and what followed, is noted beside it.
#[derive(Clone, Copy)]
struct Reading<'a> {
    entries: &'a [(u64, Happening)],
    looks: &'a [(PeerState, Verdict)],
}

impl Reading<'_> {
    /// As it was before this entry.
    fn before(&self, entry: usize) -> Self {
        let looks = &self.looks[..entry.min(self.looks.len())];
        Self { entries: &self.entries[..entry], looks }
    }

    /// The entry at which it was last heard.
    fn contact(&self) -> Option<usize> {
        let heard =
            |(_, what): &(u64, Happening)| matches!(what, Happening::Heard | Happening::Met(_));
        self.entries.iter().rposition(heard)
    }

    fn process(&self) -> Incarnation {
        let met = self.entries.iter().rev().find_map(|(_, what)| match what {
            Happening::Met(started) => Some(process(*started)),
            _ => None,
        });
        met.unwrap_or_default()
    }

    /// The entry at which the present process was first met.
    fn beginning(&self) -> usize {
        let process = self.process();
        (0..self.entries.len()).rfind(|i| self.before(*i).process() != process).unwrap_or(0)
    }

    fn groups(&self) -> i32 {
        self.entries.iter().fold(0, |groups: i32, (_, what)| match what {
            Happening::Awaited => groups + 1,
            Happening::Released => (groups - 1).max(0),
            _ => groups,
        })
    }

    fn is_awaited(&self) -> bool {
        let connected = self.entries.iter().rev().find_map(|(_, what)| match what {
            Happening::Connected(up) => Some(*up),
            _ => None,
        });
        self.groups() > 0 || connected == Some(false)
    }

    /// Since when it is silent, if it is awaited: the last contact, or the begin of the wait.
    fn silent_since(&self) -> u64 {
        let last_change = (0..self.entries.len()).rfind(|i| !self.before(*i).is_awaited());
        let wait = last_change.map_or(0, |entry| self.entries[entry].0);
        self.contact().map_or(0, |entry| self.entries[entry].0).max(wait)
    }

    /// The intervals between messages, in seconds.
    fn intervals(&self) -> Vec<f64> {
        let entries = self.beginning()..self.entries.len();
        let intervals = entries.filter_map(|entry| {
            let (now, what) = self.entries[entry];
            let before = self.before(entry);
            let counts = matches!(what, Happening::Heard | Happening::Met(_))
                && entry > 0
                && before.groups() > 0
                && before.process() == self.process()
                && self.looks[entry - 1].1.0 != PeerState::Failed;
            counts.then(|| (now - before.silent_since()) as f64 / 1e3)
        });
        intervals.filter(|interval| *interval >= 0.05).map(|interval| interval.min(0.8)).collect()
    }

    /// How a silence at this moment is judged, in floating point; `None` if that is too close to call.
    fn judgement(&self, now: u64) -> Option<PeerState> {
        if !self.is_awaited() {
            return Some(PeerState::Idle);
        }
        let silence = (now - self.silent_since()) as f64 / 1e3;
        let intervals = self.intervals();
        let count = intervals.len() as f64;
        let mean = intervals.iter().sum::<f64>() / count;
        let variance = intervals.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / count;
        let (mean, deviation) = match intervals.is_empty() {
            true => (0.1, 0.025),
            false => (mean.max(0.1), variance.sqrt().max(0.0125)),
        };
        let phi = exact_phi(((silence - mean) / deviation).clamp(-4.0, 12.0));
        let rounds = silence / mean;
        let is_close = |x: f64, y: f64, d: f64| (x - y).abs() < d;
        let close = is_close(phi, 8.0, 0.02)
            || is_close(phi, 16.0, 0.02)
            || is_close(rounds, 4.0, 1e-4) && !intervals.is_empty()
            || is_close(rounds, 10.0, 1e-4) && !intervals.is_empty();
        match (phi, rounds) {
            _ if close => None,
            (16.0.., 10.0..) => Some(PeerState::Failed),
            (8.0.., 4.0..) => Some(PeerState::Suspect),
            _ => Some(PeerState::Active),
        }
    }

    /// What the peer looks like to this node alone.
    fn own(&self) -> Verdict {
        let leaving =
            (self.beginning()..self.entries.len()).find(|entry| match self.entries[*entry].1 {
                Happening::Leaves(started) => self.before(*entry).process() == process(started),
                _ => false,
            });
        if let Some(entry) = leaving {
            return (PeerState::Leaving, self.entries[entry].0);
        }
        let contact = self.contact();
        let mut verdict = (PeerState::Idle, 0);
        for look in contact.unwrap_or(0)..self.entries.len() {
            let (state, _) = self.looks[look];
            if state > PeerState::Active && state > verdict.0 {
                verdict = (state, self.entries[look].0);
            }
        }
        if !verdict.0.is_good() {
            return verdict;
        }
        // It is active if it was heard since, or just before, somebody began to wait for it.
        let is_active = self.groups() > 0
            && contact.is_some_and(|contact| {
                let begins = (0..self.entries.len())
                    .filter(|i| matches!(self.entries[*i].1, Happening::Awaited));
                let waits = |from: usize| {
                    (from..self.entries.len()).all(|i| self.before(i + 1).groups() > 0)
                };
                waits(contact)
                    || begins.clone().any(|i| {
                        i > contact
                            && waits(i)
                            && self.entries[i].0 - self.entries[contact].0 <= 100
                    })
            });
        let contact = contact.map_or(0, |entry| self.entries[entry].0);
        (if is_active { PeerState::Active } else { PeerState::Idle }, contact)
    }

    /// What it looks like after all that others said.
    fn shown(&self) -> PeerState {
        let (own, since) = self.own();
        let contact = self.contact();
        let heard = contact.map(|entry| self.entries[entry].0);
        let told = self.entries.iter().filter_map(|(now, what)| match what {
            Happening::Told(state, started, age) if *state != PeerState::Idle => {
                let at = now.saturating_sub(*age);
                let counts =
                    heard.is_none_or(|heard| at > heard) && process(*started) >= self.process();
                counts.then(|| (process(*started), at, *state))
            }
            _ => None,
        });
        let best = told.max_by_key(|(process, at, _)| (*process, *at));
        let Some((said_of, at, state)) = best else { return own };
        let counts = said_of > self.process() || own != PeerState::Active && at >= since;
        match state {
            _ if !counts => own,
            PeerState::Active if own.is_good() => own,
            PeerState::Active => PeerState::Idle,
            state => state,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn the_detector_says_what_the_chronicle_says(
        happenings in vec((prop_oneof![8 => 50..150_u64, 1 => 150..1_500_u64], happening()), 1..32),
    ) {
        let mut scene = Scene::new();
        let mut chronicle = Chronicle::default();
        for (pause, happening) in happenings {
            scene.now += pause;
            let now = at(scene.now);
            match happening {
                Happening::Heard => scene.hear(),
                Happening::Awaited => {
                    scene.detector.await_peer(now, PEER, &mut scene.changes);
                }
                Happening::Released => {
                    scene.detector.release_peer(now, PEER, &mut scene.changes);
                }
                Happening::Met(started) => scene.meet(started),
                Happening::Connected(up) => scene.connect(up),
                Happening::Told(state, started, age) => scene.is_told(state, started, age),
                Happening::Leaves(started) => scene.leaves(started),
                Happening::Nothing => {}
            }
            scene.detector.look(now, &mut scene.changes);
            if !chronicle.go_on(scene.now, happening) {
                return Ok(());
            }
            let health = scene.health();
            prop_assert_eq!(health.state, chronicle.read().shown(), "{:?}", chronicle.entries);
            let heard = chronicle.read().contact().map(|entry| at(chronicle.entries[entry].0));
            prop_assert_eq!(health.last_contact, heard);
        }
        // What was said of the peer is what it looks like, step by step.
        let mut state = PeerState::Idle;
        for change in scene.changes.iter().filter(|change| change.peer == PEER) {
            prop_assert_eq!(change.from, state);
            prop_assert_ne!(change.from, change.to);
            state = change.to;
        }
        prop_assert_eq!(state, scene.health().state);
    }
}

#[test]
fn the_names_of_states_differ() {
    let names: std::collections::BTreeSet<_> =
        PeerState::ALL.iter().map(|state| state.name().to_string()).collect();
    assert_eq!(names.len(), PeerState::ALL.len());
    assert_eq!(vec!["idle"], [PeerState::Idle.name()]);
}
