//! What operators write, as any text.

use super::{Config, Stop, Url, duration, file};

/// A configuration file.
///
/// # Errors
/// Why it can't be meant.
pub fn of_file(text: &str) -> Result<Config, Stop> {
    let settings = file::parse(text).map_err(Stop::Refused)?;
    Config::parse(settings.into_iter().map(|(flag, value)| format!("--{}={value}", flag.name)), [])
}

/// A duration, as on the command line.
pub fn of_duration(text: &str) {
    if let Some(duration) = duration::parse(text) {
        assert!(duration.as_nanos() <= i64::MAX as u128, "Go has none that long: {duration:?}");
    }
}

/// A URL.
///
/// # Panics
/// If it is not the one that is written again.
pub fn of_url(text: &str) {
    let Ok(url) = Url::parse(text) else { return };
    let _ = (url.check_listen(), url.check_advertise(), url.is_secure(), url.port(), url.host());
    assert_eq!(Url::parse(&url.to_string()), Ok(url));
}
