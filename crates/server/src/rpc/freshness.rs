//! How new the state must be that a range reads, where the client says so: in metadata, which etcd does not know.
//!
//! | metadata of the request | what is read |
//! |---|---|
//! | `quorate-max-staleness`: milliseconds | a state that is at most so stale, by the clock of this member |
//! | `quorate-min-revision`: a revision | a state that has reached it; waits for that, for as long as requests may take |
//!
//! Either stands in the place of a linearizable read, and both together mean both. With a bound, the metadata of the
//! answer says in `quorate-staleness-ms` how stale the state really may be: milliseconds, rounded up. A client that
//! says neither sees no difference to etcd.

use std::time::Duration;

use tonic::metadata::MetadataMap;

use super::Failure;

const MAX_STALENESS: &str = "quorate-max-staleness";
const MIN_REVISION: &str = "quorate-min-revision";
const STALENESS: &str = "quorate-staleness-ms";

/// What the client wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// How stale the state may be.
    pub(crate) max_staleness: Option<Duration>,
    /// The revision that it must have reached.
    pub(crate) min_revision: Option<i64>,
}

impl Wanted {
    /// What the metadata of a request says.
    pub(crate) fn of(metadata: &MetadataMap) -> Result<Self, Failure> {
        let millis = number(metadata, MAX_STALENESS)?;
        let revision = number(metadata, MIN_REVISION)?;
        let min_revision = revision.map(i64::try_from).transpose();
        Ok(Self {
            max_staleness: millis.map(Duration::from_millis),
            min_revision: min_revision.map_err(|_| Failure::BadMetadata(MIN_REVISION))?,
        })
    }
}

/// A number that is at least 0.
fn number(metadata: &MetadataMap, name: &'static str) -> Result<Option<u64>, Failure> {
    let Some(value) = metadata.get(name) else { return Ok(None) };
    let number = value.to_str().ok().and_then(|text| text.parse().ok());
    number.map(Some).ok_or(Failure::BadMetadata(name))
}

/// Says how stale what was read may be.
pub(crate) fn tell(staleness: Option<Duration>, metadata: &mut MetadataMap) {
    if let Some(staleness) = staleness {
        let millis = u64::try_from(staleness.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX);
        metadata.insert(STALENESS, millis.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: &'static str, value: &str) -> Result<Wanted, Failure> {
        let mut metadata = MetadataMap::new();
        metadata.insert(name, value.parse().expect("text"));
        Wanted::of(&metadata)
    }

    #[test]
    fn metadata_says_what_is_wanted_or_is_refused() {
        assert_eq!(Wanted::of(&MetadataMap::new()), Ok(Wanted::default()));
        let bound = of(MAX_STALENESS, "500").expect("milliseconds").max_staleness;
        assert_eq!(bound, Some(Duration::from_millis(500)));
        let endless = of(MAX_STALENESS, &u64::MAX.to_string()).expect("a number");
        assert!(endless.max_staleness.is_some());
        assert_eq!(of(MIN_REVISION, "7").expect("a revision").min_revision, Some(7));
        for wrong in ["", "-1", "1.5", "500ms", "18446744073709551616"] {
            assert_eq!(of(MAX_STALENESS, wrong), Err(Failure::BadMetadata(MAX_STALENESS)));
        }
        for wrong in ["", "-1", "x", "9223372036854775808"] {
            assert_eq!(of(MIN_REVISION, wrong), Err(Failure::BadMetadata(MIN_REVISION)));
        }
    }

    #[test]
    fn staleness_is_told_in_milliseconds_and_never_too_small() {
        let told = |nanos| {
            let mut metadata = MetadataMap::new();
            tell(Some(Duration::from_nanos(nanos)), &mut metadata);
            metadata.get(STALENESS).and_then(|value| value.to_str().ok()).map(str::to_owned)
        };
        assert_eq!(told(0).as_deref(), Some("0"));
        assert_eq!(told(1).as_deref(), Some("1"));
        assert_eq!(told(1_000_000).as_deref(), Some("1"));
        assert_eq!(told(1_000_001).as_deref(), Some("2"));
        let mut metadata = MetadataMap::new();
        tell(None, &mut metadata);
        assert!(metadata.is_empty());
    }
}
