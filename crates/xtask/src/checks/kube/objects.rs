//! Which objects there are, what is in them, and who watches which of them.

use bytes::Bytes;

use crate::checks::client::end_of_prefix;
use crate::checks::dice::Dice;
use crate::checks::kube::history::Wish;

/// Half of all objects are pods.
const RESOURCES: [&str; 4] = ["pods", "configmaps", "pods", "secrets"];

const NAMESPACES: u64 = 10;

/// How much is done.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scale {
    pub(crate) objects: u64,
    pub(crate) watchers: usize,
    /// For how long objects are updated by many at once, in seconds.
    pub(crate) seconds: u64,
    pub(crate) seed: u64,
}

/// Where an object is.
pub(crate) fn key(number: u64) -> Bytes {
    let resource = RESOURCES[(number % RESOURCES.len() as u64) as usize];
    let namespace = number / RESOURCES.len() as u64 % NAMESPACES;
    format!("/registry/{resource}/ns-{namespace:02}/object-{number:05}").into()
}

/// What is in an object: a word that no other write has, and a few hundred bytes as most objects have them.
pub(crate) fn value(word: &str, dice: &mut Dice) -> Bytes {
    let length = 300 + dice.roll(1_700) as usize;
    let mut value = Vec::with_capacity(length);
    value.extend_from_slice(word.as_bytes());
    value.push(b' ');
    while value.len() < length {
        value.extend_from_slice(&dice.roll(u64::MAX).to_le_bytes());
    }
    value.into()
}

/// The word of an object.
pub(crate) fn word(value: &[u8]) -> &str {
    let end = value.iter().position(|byte| *byte == b' ').unwrap_or(value.len());
    std::str::from_utf8(&value[..end]).unwrap_or_default()
}

/// What one of the watchers watches: all of a resource, a namespace of it, or one object, as controllers and kubelets
/// do.
pub(crate) fn wish(watcher: usize, from: i64) -> Wish {
    let number = watcher as u64;
    let resource = RESOURCES[(number / 10 % 2) as usize];
    let prefix = match watcher % 10 {
        0 => "/registry/".to_owned(),
        1 => "/registry/pods/".to_owned(),
        2 => "/registry/configmaps/".to_owned(),
        3 => "/registry/secrets/".to_owned(),
        4 => "/registry/events/".to_owned(),
        5 => {
            // One of those that everybody writes.
            return Wish { key: key(number / 10 * 4), range_end: Bytes::new(), from };
        }
        _ => format!("/registry/{resource}/ns-{:02}/", number % NAMESPACES),
    };
    Wish { range_end: end_of_prefix(&prefix), key: prefix.into(), from }
}

/// A watch of everything.
pub(crate) fn everything(from: i64) -> Wish {
    Wish { key: Bytes::from_static(&[0]), range_end: Bytes::from_static(&[0]), from }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_told_apart_by_key_and_word() {
        let keys: std::collections::BTreeSet<Bytes> = (0..1_000).map(key).collect();
        assert_eq!(keys.len(), 1_000);
        let value = value("7:w1-3", &mut Dice::new(1, 1));
        assert_eq!(word(&value), "7:w1-3");
        assert!((300..2_100).contains(&value.len()));
    }
}
