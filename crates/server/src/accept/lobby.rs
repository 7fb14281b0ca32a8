//! Room for connections that have not begun.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::crowd::Origin;

/// How many connections may be about to begin: a thousand clients that come back at once are no attack.
const PLACES: usize = 2048;

/// Has room for so many connections. When one more comes, one of whoever has most of them has to go, the one that has
/// waited longest: an honest handshake is over in a few round trips, and who fills the room with silence drives out its
/// own silence.
#[derive(Debug)]
pub(crate) struct Lobby {
    places_max: usize,
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    /// By the number in which they came. What is dropped here is told to go.
    places: BTreeMap<u64, (Origin, oneshot::Sender<()>)>,
    /// The numbers of each origin that has any.
    of: HashMap<Origin, BTreeSet<u64>>,
    next: u64,
}

/// A place; free again when it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    number: u64,
    lobby: Arc<Lobby>,
    lost: oneshot::Receiver<()>,
}

impl Lobby {
    /// Where there is room for so many connections in all: half of them are kept for those that have begun.
    pub(crate) fn within(connections_max: usize) -> Self {
        Self::with_places(PLACES.min(connections_max / 2))
    }

    fn with_places(places_max: usize) -> Self {
        Self { places_max, waiting: Mutex::default() }
    }

    /// Takes a place.
    pub(crate) fn enter(self: &Arc<Self>, origin: Origin) -> Place {
        let (keep, lost) = oneshot::channel();
        let mut waiting = self.waiting();
        if waiting.places.len() >= self.places_max {
            waiting.make_room();
        }
        let number = waiting.next;
        waiting.next += 1;
        waiting.places.insert(number, (origin, keep));
        waiting.of.entry(origin).or_default().insert(number);
        drop(waiting);
        Place { number, lobby: self.clone(), lost }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    /// Sends away whoever waited longest of those who are most.
    fn make_room(&mut self) {
        let rank = |numbers: &&BTreeSet<u64>| (numbers.len(), Reverse(numbers.first().copied()));
        let longest =
            self.of.values().max_by_key(rank).and_then(|numbers| numbers.first().copied());
        if let Some(number) = longest {
            self.forget(number);
        }
    }

    fn forget(&mut self, number: u64) {
        let Some((origin, _)) = self.places.remove(&number) else { return };
        let numbers = self.of.get_mut(&origin).expect("each place has an origin");
        numbers.remove(&number);
        if numbers.is_empty() {
            self.of.remove(&origin);
        }
    }
}

impl Place {
    /// Resolves when the place is wanted for another one.
    pub(crate) async fn lost(&mut self) {
        // Nothing is ever sent.
        let _ = (&mut self.lost).await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.lobby.waiting().forget(self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_lost(place: &mut Place) -> bool {
        place.lost.try_recv() != Err(oneshot::error::TryRecvError::Empty)
    }

    fn origin(last: u8) -> Origin {
        Origin::of([10, 0, 0, last].into())
    }

    #[test]
    fn who_waited_longest_makes_room() {
        let lobby = Arc::new(Lobby::with_places(2));
        let enter = || lobby.enter(origin(1));
        let (mut first, mut second) = (enter(), enter());
        assert!(!is_lost(&mut first) && !is_lost(&mut second));
        let mut third = enter();
        assert!(is_lost(&mut first) && !is_lost(&mut second) && !is_lost(&mut third));
        drop(first);
        drop(third);
        let mut fourth = enter();
        assert!(!is_lost(&mut second) && !is_lost(&mut fourth), "there was room");
        assert_eq!(lobby.waiting().places.len(), 2);
    }

    #[test]
    fn a_flood_drives_out_itself() {
        let lobby = Arc::new(Lobby::with_places(3));
        let (mut honest, mut first) = (lobby.enter(origin(1)), lobby.enter(origin(2)));
        let mut second = lobby.enter(origin(2));
        let mut third = lobby.enter(origin(2));
        assert!(
            is_lost(&mut first) && !is_lost(&mut honest),
            "the flood is the one of whom are most"
        );
        let mut fourth = lobby.enter(origin(2));
        assert!(is_lost(&mut second) && !is_lost(&mut honest));
        let mut other = lobby.enter(origin(3));
        assert!(is_lost(&mut third) && !is_lost(&mut fourth) && !is_lost(&mut honest));
        let last = lobby.enter(origin(4));
        assert!(is_lost(&mut honest), "where all have one, the oldest goes");
        assert!(!is_lost(&mut fourth) && !is_lost(&mut other));
        drop((honest, first, second, third, fourth, other, last));
        assert!(lobby.waiting().places.is_empty() && lobby.waiting().of.is_empty());
    }
}
