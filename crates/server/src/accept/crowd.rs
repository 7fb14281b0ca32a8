//! Room for connections, begun or not.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// From where a connection comes: an address, or the network of one of IPv6, in which one machine has all addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Origin(IpAddr);

impl Origin {
    pub(crate) fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V6(address) => {
                let network = address.to_bits() >> 64 << 64;
                Self(Ipv6Addr::from_bits(network).into())
            }
            address @ IpAddr::V4(_) => Self(address),
        }
    }
}

/// Has room for so many connections. Those of one origin get three quarters of it: who opens more than are good for him
/// shuts out himself, and nobody elsewhere.
#[derive(Debug)]
pub(crate) struct Crowd {
    connections_max: usize,
    inside: Mutex<Inside>,
}

#[derive(Debug, Default)]
struct Inside {
    all: usize,
    /// Of each origin that has any.
    of: HashMap<Origin, usize>,
}

/// A connection that is inside, until this is dropped.
#[derive(Debug)]
pub(crate) struct Guest {
    origin: Origin,
    crowd: Arc<Crowd>,
}

impl Crowd {
    pub(crate) fn new(connections_max: usize) -> Self {
        Self { connections_max, inside: Mutex::default() }
    }

    /// Lets one in, if there is room.
    pub(crate) fn enter(self: &Arc<Self>, origin: Origin) -> Option<Guest> {
        let share = self.connections_max - self.connections_max / 4;
        let mut inside = self.inside();
        let before = inside.of.get(&origin).copied().unwrap_or_default();
        if inside.all >= self.connections_max || before >= share {
            return None;
        }
        inside.all += 1;
        inside.of.insert(origin, before + 1);
        drop(inside);
        Some(Guest { origin, crowd: self.clone() })
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let mut inside = self.crowd.inside();
        inside.all -= 1;
        let left = inside.of.get(&self.origin).map_or(0, |count| count - 1);
        if left == 0 {
            inside.of.remove(&self.origin);
        } else {
            inside.of.insert(self.origin, left);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(text: &str) -> Origin {
        Origin::of(text.parse().expect("an address"))
    }

    #[test]
    fn who_takes_too_much_shuts_out_nobody_else() {
        let crowd = Arc::new(Crowd::new(8));
        let (greedy, other) = (origin("10.0.0.1"), origin("10.0.0.2"));
        let mut inside: Vec<Guest> = (0..6).map(|_| crowd.enter(greedy).expect("room")).collect();
        assert!(crowd.enter(greedy).is_none(), "it has its share");
        inside.push(crowd.enter(other).expect("room"));
        inside.push(crowd.enter(other).expect("room"));
        assert!(crowd.enter(other).is_none(), "there is no room");
        assert!(crowd.enter(origin("10.0.0.3")).is_none());
        inside.remove(0);
        inside.push(crowd.enter(other).expect("somebody left"));
        drop(inside);
        assert_eq!(crowd.inside().all, 0);
        assert!(crowd.inside().of.is_empty(), "who left is forgotten");
    }

    #[test]
    fn all_addresses_of_a_network_of_ipv6_are_one_origin() {
        assert_eq!(origin("2001:db8:1:2::1"), origin("2001:db8:1:2:ffff::7"));
        assert_ne!(origin("2001:db8:1:2::1"), origin("2001:db8:1:3::1"));
        assert_eq!(origin("::ffff:10.0.0.1"), origin("10.0.0.1"));
        assert_ne!(origin("10.0.0.1"), origin("10.0.0.2"));
    }
}
