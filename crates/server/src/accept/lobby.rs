//! Room for connections that have not begun.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// How many connections may be about to begin: a thousand clients that come back at once are no attack.
const PLACES: usize = 2048;

/// Has room for so many connections. When one more comes, the one that has waited longest has to go: an honest
/// handshake is over in a few round trips, and who fills the room with silence drives out its own silence.
#[derive(Debug)]
pub(crate) struct Lobby {
    places_max: usize,
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    /// By the number in which they came. What is dropped here is told to go.
    places: BTreeMap<u64, oneshot::Sender<()>>,
    next: u64,
}

/// A place; free again when it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    number: u64,
    lobby: Arc<Lobby>,
    lost: oneshot::Receiver<()>,
}

impl Default for Lobby {
    fn default() -> Self {
        Self::with_places(PLACES)
    }
}

impl Lobby {
    fn with_places(places_max: usize) -> Self {
        Self { places_max, waiting: Mutex::default() }
    }

    /// Takes a place.
    pub(crate) fn enter(self: &Arc<Self>) -> Place {
        let (keep, lost) = oneshot::channel();
        let mut waiting = self.waiting();
        if waiting.places.len() >= self.places_max {
            waiting.places.pop_first();
        }
        let number = waiting.next;
        waiting.next += 1;
        waiting.places.insert(number, keep);
        drop(waiting);
        Place { number, lobby: self.clone(), lost }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
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
        self.lobby.waiting().places.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_lost(place: &mut Place) -> bool {
        place.lost.try_recv() != Err(oneshot::error::TryRecvError::Empty)
    }

    #[test]
    fn who_waited_longest_makes_room() {
        let lobby = Arc::new(Lobby::with_places(2));
        let (mut first, mut second) = (lobby.enter(), lobby.enter());
        assert!(!is_lost(&mut first) && !is_lost(&mut second));
        let mut third = lobby.enter();
        assert!(is_lost(&mut first) && !is_lost(&mut second) && !is_lost(&mut third));
        drop(first);
        drop(third);
        let mut fourth = lobby.enter();
        assert!(!is_lost(&mut second) && !is_lost(&mut fourth), "there was room");
        assert_eq!(lobby.waiting().places.len(), 2);
    }
}
