//! Whether history is compacted without being asked, and how much of it stays: etcd's two flags.

use std::time::Duration;

use super::typed::Typed;
use super::{Stop, duration};

const MODE: &str = "auto-compaction-mode";
const RETENTION: &str = "auto-compaction-retention";

/// What is kept where nobody says anything, unlike etcd, which keeps all of it then. A day: whoever watches or reads history
/// and is behind by less is never cut off.
const RETENTION_DEFAULT: Duration = Duration::from_secs(24 * 3600);

/// How much history stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AutoCompaction {
    /// What was the newest state at any time within the last so long.
    Periodic(Duration),
    /// So many revisions.
    Revision(i64),
}

impl AutoCompaction {
    /// What was typed; `None` if nothing is to be compacted without being asked. A bare number is one of hours or of
    /// revisions, by the mode.
    pub(super) fn mean(typed: &Typed) -> Result<Option<Self>, Stop> {
        let is_periodic = match typed.get(MODE) {
            None | Some("periodic") => true,
            Some("revision") => false,
            Some(other) => return Err(Stop::Refused(format!("unexpected {MODE} {other:?}"))),
        };
        let Some(text) = typed.get(RETENTION) else {
            // A mode alone asks for nothing yet, in etcd. Of revisions there is no number that is safe for everybody.
            return Ok(is_periodic.then_some(Self::Periodic(RETENTION_DEFAULT)));
        };
        let invalid =
            || Stop::Refused(format!("--{RETENTION}={text} is no such amount of history"));
        let number = text.parse::<i64>().ok();
        if number.is_some_and(|number| number < 0) {
            return Err(invalid());
        }
        Ok(match number {
            Some(0) => None,
            Some(revisions) if !is_periodic => Some(Self::Revision(revisions)),
            Some(hours) => {
                let seconds = u64::try_from(hours).ok().and_then(|hours| hours.checked_mul(3600));
                let period = seconds.map(Duration::from_secs).filter(|it| *it <= PERIOD_MAX);
                Some(Self::Periodic(period.ok_or_else(invalid)?))
            }
            // etcd takes a time for so many revisions as it has nanoseconds.
            None if !is_periodic => return Err(invalid()),
            None => {
                let period = duration::parse(text).ok_or_else(invalid)?;
                Some(period).filter(|period| !period.is_zero()).map(Self::Periodic)
            }
        })
    }
}

/// The longest duration that Go knows: 292 years.
const PERIOD_MAX: Duration = Duration::from_nanos(i64::MAX.unsigned_abs());
