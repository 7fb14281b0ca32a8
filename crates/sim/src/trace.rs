//! What happened, line by line, for a human who replays a seed.

use core::fmt;
use std::time::Duration;

/// What becomes of a line.
type Sink = Box<dyn FnMut(&str)>;

/// Where the lines go. A run that is not watched pays nothing for them.
#[derive(Default)]
pub struct Trace(Option<Sink>);

impl Trace {
    /// Nobody watches.
    #[must_use]
    pub fn off() -> Self {
        Self(None)
    }

    /// Every line goes here.
    #[must_use]
    pub fn to(sink: impl FnMut(&str) + 'static) -> Self {
        Self(Some(Box::new(sink)))
    }

    /// Something happened. The line is made only if somebody watches.
    pub fn line(&mut self, now: Duration, line: impl FnOnce() -> String) {
        if let Some(sink) = &mut self.0 {
            sink(&format!("{:>14.6} {}", now.as_secs_f64(), line()));
        }
    }
}

impl fmt::Debug for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "watched" } else { "off" })
    }
}
