//! What clients may take of a member together.

use super::typed::Typed;
use super::{Stop, number};
use crate::rate::{Rate, Rates};
use crate::rpc::message_bytes_max;

/// Streams of a connection. Clients that wait for a lock, a leadership or an event have one each, so there must be far
/// more of them than a client has threads: one more than that, with the call that all others wait for, would wait for ever.
const STREAMS_DEFAULT: u32 = 10_000;

/// Watchers of a stream, and of all streams together.
const STREAM_WATCHERS_DEFAULT: usize = 10_000;
const WATCHERS_DEFAULT: usize = 1_000_000;

const USER: &str = "rate-limit-user";
const PREFIX: &str = "rate-limit-prefix";

/// What a quarter of the memory is at least.
const QUARTER_MIN: usize = 128 << 20;

/// What clients may take of a member together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientLimits {
    /// The most streams on a connection: a call is one, for as long as it takes.
    pub streams: u32,
    /// The most watchers on a stream.
    pub stream_watchers: usize,
    /// The most watchers of all clients.
    pub watchers: usize,
    /// The memory for all that they do.
    pub memory: MemoryLimit,
    /// How often they may ask.
    pub rates: Rates,
}

/// How much memory there is for what clients do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryLimit {
    /// A quarter of what this process may have.
    Quarter,
    /// So many bytes.
    Bytes(usize),
    /// As much as they take.
    None,
}

impl MemoryLimit {
    /// How many messages of the largest kind must fit, so that a few clients at once can do all that one can.
    const MESSAGES_MIN: usize = 8;

    fn mean(typed: &Typed, message_bytes_max: usize) -> Result<Self, Stop> {
        match typed.get("client-memory-limit") {
            None => Ok(Self::Quarter),
            Some(_) => match number::<usize>(typed, "client-memory-limit", 0)? {
                0 => Ok(Self::None),
                bytes if bytes / Self::MESSAGES_MIN < message_bytes_max => {
                    let least = message_bytes_max.saturating_mul(Self::MESSAGES_MIN);
                    Err(Stop::Refused(format!(
                        "--client-memory-limit={bytes} is less than {least}, which is {} messages of the \
                         largest kind",
                        Self::MESSAGES_MIN
                    )))
                }
                bytes => Ok(Self::Bytes(bytes)),
            },
        }
    }

    /// The bytes, of so many for the process; `None` if there is no limit, or none is known.
    pub(crate) fn bytes(self, available: Option<usize>) -> Option<usize> {
        match self {
            Self::Quarter => available.map(|bytes| (bytes / 4).max(QUARTER_MIN)),
            Self::Bytes(bytes) => Some(bytes),
            Self::None => None,
        }
    }
}

impl ClientLimits {
    pub(super) fn mean(typed: &Typed, max_request_bytes: usize) -> Result<Self, Stop> {
        Ok(Self {
            rates: rates(typed)?,
            memory: MemoryLimit::mean(typed, message_bytes_max(max_request_bytes))?,
            streams: number(typed, "max-concurrent-streams", STREAMS_DEFAULT)?,
            stream_watchers: number(typed, "max-watchers-per-stream", STREAM_WATCHERS_DEFAULT)?,
            watchers: number(typed, "max-watchers", WATCHERS_DEFAULT)?,
        })
    }
}

/// How many prefixes may have a rate: each of them is looked at for each request.
const PREFIXES_MAX: usize = 64;

fn rates(typed: &Typed) -> Result<Rates, Stop> {
    let user = match typed.get(USER) {
        None => None,
        Some(text) => Some(rate(text).ok_or_else(|| refused(USER, text))?),
    };
    let mut prefixes = Vec::new();
    // Prefixes are read from their end, since there may be any letter in them but a comma.
    for text in typed.get(PREFIX).unwrap_or_default().split(',').filter(|text| !text.is_empty()) {
        let (prefix, of) = text.rsplit_once('=').ok_or_else(|| refused(PREFIX, text))?;
        prefixes.push((prefix.to_owned().into(), rate(of).ok_or_else(|| refused(PREFIX, text))?));
    }
    if prefixes.len() > PREFIXES_MAX {
        return Err(Stop::Refused(format!("--{PREFIX} has more than {PREFIXES_MAX} prefixes")));
    }
    Ok(Rates { user, prefixes })
}

/// `RATE`, requests in a second; or `RATE/BURST`, so many at once. Without a burst it is what a second brings.
fn rate(text: &str) -> Option<Rate> {
    let (per_second, burst) = text.split_once('/').unwrap_or((text, text));
    let number = |text: &str| text.parse().ok().filter(|number| *number > 0);
    Some(Rate { per_second: number(per_second)?, burst: number(burst)? })
}

fn refused(flag: &str, text: &str) -> Stop {
    Stop::Refused(format!(
        "--{flag}: {text:?} has no rate like '100' or '100/200' (a second, and at once)"
    ))
}
