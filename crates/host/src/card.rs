//! What a member says about itself when it greets another one: its card, as bytes.
//!
//! Names end up in metrics, in the log and on pages. What they may consist of is therefore agreed on here
//! once, for this member as for others, and nobody behind has anything to escape.
//!
//! ```text
//!   started u64 | version | zone | priority u16 | count u8 | address …        a text: length u8 | bytes
//! ```

use std::sync::Arc;

use bytes::{Buf, BufMut};
use quorate_node::{About, Priority};

/// The longest version and the longest zone, in bytes.
pub(crate) const NAME_BYTES_MAX: usize = 64;

/// The longest address, in bytes: a host name of the greatest length that there is, and no more.
pub(crate) const ADDRESS_BYTES_MAX: usize = 255;

/// The most addresses.
pub(crate) const ADDRESSES_MAX: usize = 8;

/// The largest card, in bytes.
pub(crate) const CARD_BYTES_MAX: usize =
    8 + 2 * (1 + NAME_BYTES_MAX) + 2 + 1 + ADDRESSES_MAX * (1 + ADDRESS_BYTES_MAX);

/// What a member says about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Card {
    /// When its process started, in milliseconds since 1970.
    pub(crate) started_ms: u64,
    /// What it is, and where.
    pub(crate) about: Arc<About>,
}

impl Card {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let About { version, zone, addresses, leader_priority } = &*self.about;
        let mut out = Vec::new();
        out.put_u64_le(self.started_ms);
        put_text(&mut out, version);
        put_text(&mut out, zone);
        out.put_u16_le(leader_priority.get());
        out.put_u8(u8::try_from(addresses.len()).expect("the configuration was checked"));
        for address in addresses {
            put_text(&mut out, address);
        }
        out
    }

    /// `None` if a member that keeps to the rules does not say that.
    pub(crate) fn decode(mut bytes: &[u8]) -> Option<Self> {
        let started_ms = bytes.try_get_u64_le().ok()?;
        let version = text(&mut bytes)?;
        let zone = text(&mut bytes)?;
        let leader_priority = Priority::new(bytes.try_get_u16_le().ok()?)?;
        let count = bytes.try_get_u8().ok()?;
        let addresses = (0..count).map(|_| text(&mut bytes)).collect::<Option<_>>()?;
        let about = About { version, zone, addresses, leader_priority };
        let is_good = bytes.is_empty() && check(&about).is_ok();
        is_good.then(|| Self { started_ms, about: Arc::new(about) })
    }
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    out.put_u8(u8::try_from(text.len()).expect("the configuration was checked"));
    out.put_slice(text.as_bytes());
}

fn text(bytes: &mut &[u8]) -> Option<String> {
    let length = bytes.try_get_u8().ok()?;
    let (text, rest) = bytes.split_at_checked(length.into())?;
    *bytes = rest;
    String::from_utf8(text.to_vec()).ok()
}

/// Whether a member may say this about itself; if not, why.
pub(crate) fn check(about: &About) -> Result<(), String> {
    let About { version, zone, addresses, leader_priority: _ } = about;
    for name in [version, zone] {
        if !is_name(name) {
            return Err(format!(
                "{name:?} is not a name of at most {NAME_BYTES_MAX} letters, digits and any of .-_:/+"
            ));
        }
    }
    if addresses.len() > ADDRESSES_MAX {
        return Err(format!("there are more than {ADDRESSES_MAX} addresses"));
    }
    match addresses.iter().find(|address| !is_address(address)) {
        Some(address) => Err(format!("{address:?} is not an address")),
        None => Ok(()),
    }
}

/// Whether a text may be the version or the zone of a member. It may be empty.
#[must_use]
pub fn is_name(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || ".-_:/+".contains(c);
    text.len() <= NAME_BYTES_MAX && text.chars().all(plain)
}

/// Whether a member may say that it is reached there.
#[must_use]
pub fn is_address(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_graphic() && c != '"' && c != '\\';
    text.len() <= ADDRESS_BYTES_MAX && text.chars().all(plain)
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn card() -> impl Strategy<Value = Card> {
        let address = prop_oneof![3 => "[a-z0-9.:/]{0,40}", 1 => "[!#-\\[\\]-~]{255}"];
        let name = || "[A-Za-z0-9._:/+-]{0,64}";
        let priority = (0..=Priority::MAX.get()).prop_map(|value| Priority::new(value).unwrap());
        (any::<u64>(), name(), name(), priority, vec(address, 0..=ADDRESSES_MAX)).prop_map(
            |(started_ms, version, zone, leader_priority, addresses)| Card {
                started_ms,
                about: Arc::new(About { version, zone, addresses, leader_priority }),
            },
        )
    }

    proptest! {
        #[test]
        fn a_card_arrives_as_it_was_sent(card in card()) {
            let bytes = card.encode();
            prop_assert!(bytes.len() <= CARD_BYTES_MAX);
            prop_assert_eq!(Card::decode(&bytes), Some(card));
        }

        #[test]
        fn other_bytes_are_no_card_or_another(
            card in card(),
            at in any::<prop::sample::Index>(),
            bits in 1..=255_u8,
            cut in any::<prop::sample::Index>(),
        ) {
            let bytes = card.encode();
            prop_assert_eq!(Card::decode(&bytes[..cut.index(bytes.len())]), None);
            let mut longer = bytes.clone();
            longer.push(0);
            prop_assert_eq!(Card::decode(&longer), None);
            let mut other = bytes;
            let at = at.index(other.len());
            other[at] ^= bits;
            if let Some(read) = Card::decode(&other) {
                prop_assert_ne!(&read, &card);
                prop_assert_eq!(read.encode(), other);
            }
        }

        #[test]
        fn any_bytes_are_read_without_harm(bytes in vec(any::<u8>(), 0..300)) {
            if let Some(card) = Card::decode(&bytes) {
                prop_assert_eq!(card.encode(), bytes);
            }
        }
    }

    #[test]
    fn names_need_no_escape() {
        assert!(is_name("") && is_name("eu-west-1/b") && is_name("0.1.0+a_b:c"));
        for bad in ["a b", "a\"", "a\n", "ä", "{", &"x".repeat(65)] {
            assert!(!is_name(bad), "{bad:?}");
        }
        assert!(is_address("http://[::1]:2380"));
        for bad in ["http://a b", "\"", "\\", "ä", &"x".repeat(256)] {
            assert!(!is_address(bad), "{bad:?}");
        }
        let about = About { addresses: vec!["a".into(); 9], ..About::default() };
        assert!(check(&about).is_err());
    }
}
