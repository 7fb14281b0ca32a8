//! How large the store may become.

use super::typed::Typed;
use super::{Stop, number};

/// The quota where none is given: 2 GiB, as in etcd.
const BYTES_DEFAULT: u64 = 2 << 30;

/// Beyond this, etcd warns: a store that large is slow to transfer and to start.
const BYTES_ADVISED: u64 = 8 << 30;

/// How large the store may become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// The size, of what is in use, from which on growing writes are refused. `None` is no limit.
    pub bytes: Option<u64>,
}

impl Quota {
    /// What was typed, and a warning if it is much.
    pub(super) fn mean(typed: &Typed, warnings: &mut Vec<String>) -> Result<Self, Stop> {
        let bytes = match number::<i64>(typed, "quota-backend-bytes", 0)? {
            0 => Some(BYTES_DEFAULT),
            quota => u64::try_from(quota).ok(),
        };
        if bytes.is_some_and(|bytes| bytes > BYTES_ADVISED) {
            warnings.push(format!(
                "--quota-backend-bytes exceeds the advised maximum of {BYTES_ADVISED}"
            ));
        }
        Ok(Self { bytes })
    }
}
