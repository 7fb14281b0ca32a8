//! The log: one JSON object per line, with the keys and the messages that etcd's have.
//!
//! Test suites and scripts wait for lines such as `ready to serve client requests`, which is why the
//! form is etcd's. It is a page of code and not a framework, because a server that answers thousands
//! of requests per second should write a line for what an operator must know and for nothing else.
//!
//! Lines are written by a thread of their own: the raft thread tells what happens too, and a pipe that
//! nobody reads must not hold its heartbeats back. If too many lines wait, further ones are dropped and
//! counted.

use std::fmt::{self, Write as _};
use std::io::{self, Write};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread;
use std::time::Duration;

use quorate_host::wall_clock;

/// So many lines may wait to be written.
const WAITING_MAX: usize = 4096;

/// How long the last lines of a process may take, in steps of which there are so many.
const FLUSH_STEP: Duration = Duration::from_millis(10);
const FLUSH_STEPS: u32 = 100;

/// How much a line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Of use while looking for an error.
    Debug,
    /// The ordinary course of things.
    Info,
    /// Something the operator should look at.
    Warn,
    /// Something failed.
    Error,
    /// The member stops.
    Fatal,
}

impl Level {
    fn name(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
            Self::Fatal => "fatal",
        }
    }
}

impl FromStr for Level {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Ok(match text {
            "debug" => Self::Debug,
            "info" => Self::Info,
            "warn" => Self::Warn,
            "error" => Self::Error,
            // etcd has three levels above `error`; nothing here is between them.
            "dpanic" | "panic" | "fatal" => Self::Fatal,
            _ => return Err(()),
        })
    }
}

/// Where lines go. Cheap to clone.
#[derive(Clone)]
pub struct Log {
    level: Level,
    lines: SyncSender<Message>,
    /// Lines that found no room since the last that did.
    dropped: Arc<AtomicU64>,
}

/// What the thread of the log is told.
enum Message {
    /// To write this.
    Line(String),
    /// To say that everything before is written.
    Flush(SyncSender<()>),
}

fn write_lines(messages: &Receiver<Message>, mut sink: impl Write) {
    for message in messages {
        match message {
            // Nobody is left to tell that the log can't be written.
            Message::Line(text) => drop(sink.write_all(text.as_bytes())),
            Message::Flush(done) => {
                let _ = sink.flush();
                let _ = done.try_send(());
            }
        }
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Log").field("level", &self.level).finish_non_exhaustive()
    }
}

impl Log {
    /// A log of lines from `level` up, on standard error.
    ///
    /// # Panics
    /// If the system has no thread left.
    #[must_use]
    pub fn to_stderr(level: Level) -> Self {
        Self::new(level, io::stderr())
    }

    /// A log of lines from `level` up, in `sink`.
    ///
    /// # Panics
    /// If the system has no thread left.
    pub fn new(level: Level, sink: impl Write + Send + 'static) -> Self {
        let (lines, messages) = mpsc::sync_channel(WAITING_MAX);
        thread::Builder::new()
            .name("quorate-log".into())
            .spawn(move || write_lines(&messages, sink))
            .expect("a thread for the log");
        Self { level, lines, dropped: Arc::default() }
    }

    /// Returns when the lines so far are written, or after a second if nobody takes them.
    pub fn flush(&self) {
        let (done, wait) = mpsc::sync_channel(1);
        for _ in 0..FLUSH_STEPS {
            if self.lines.try_send(Message::Flush(done.clone())).is_ok() {
                let _ = wait.recv_timeout(FLUSH_STEP * FLUSH_STEPS);
                return;
            }
            thread::sleep(FLUSH_STEP);
        }
    }

    /// Hands over a line that lacks its end.
    fn write(&self, mut line: String) {
        let dropped = self.dropped.swap(0, Ordering::Relaxed);
        if dropped > 0 {
            write!(line, ",\"lines-dropped-before\":{dropped}").expect("writing to a string");
        }
        line.push_str("}\n");
        if self.lines.try_send(Message::Line(line)).is_err() {
            self.dropped.fetch_add(dropped + 1, Ordering::Relaxed);
        }
    }

    /// Begins a line of the level `debug`; it is written when the value is dropped.
    pub fn debug(&self, message: &str) -> Line<'_> {
        self.line(Level::Debug, message)
    }

    /// Begins a line of the level `info`.
    pub fn info(&self, message: &str) -> Line<'_> {
        self.line(Level::Info, message)
    }

    /// Begins a line of the level `warn`.
    pub fn warn(&self, message: &str) -> Line<'_> {
        self.line(Level::Warn, message)
    }

    /// Begins a line of the level `error`.
    pub fn error(&self, message: &str) -> Line<'_> {
        self.line(Level::Error, message)
    }

    /// Begins a line of the level `fatal`, which waits to be written. To end the process is up to the
    /// caller.
    pub fn fatal(&self, message: &str) -> Line<'_> {
        self.line(Level::Fatal, message)
    }

    fn line(&self, level: Level, message: &str) -> Line<'_> {
        if level < self.level {
            return Line { log: self, level, text: None };
        }
        let now = wall_clock();
        let mut text = format!(
            "{{\"level\":\"{}\",\"ts\":\"{}\",\"msg\":",
            level.name(),
            Timestamp { seconds: now.as_secs(), millis: now.subsec_millis() },
        );
        push_string(&mut text, message);
        Line { log: self, level, text: Some(text) }
    }
}

/// A line that is being put together. Writes itself when dropped.
#[derive(Debug)]
pub struct Line<'a> {
    log: &'a Log,
    level: Level,
    /// `None` if the level is not logged.
    text: Option<String>,
}

impl Line<'_> {
    /// Adds a field with a text.
    pub fn with(mut self, name: &str, value: impl fmt::Display) -> Self {
        if let Some(text) = &mut self.text {
            text.push(',');
            push_string(text, name);
            text.push(':');
            push_string(text, &value.to_string());
        }
        self
    }

    /// Adds a field with a number.
    pub fn number(mut self, name: &str, value: u64) -> Self {
        if let Some(text) = &mut self.text {
            text.push(',');
            push_string(text, name);
            write!(text, ":{value}").expect("writing to a string does not fail");
        }
        self
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        let Some(text) = self.text.take() else { return };
        self.log.write(text);
        if self.level == Level::Fatal {
            self.log.flush();
        }
    }
}

/// Appends `value` as a JSON string.
pub(crate) fn push_string(text: &mut String, value: &str) {
    text.push('"');
    for character in value.chars() {
        match character {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\t' => text.push_str("\\t"),
            '\r' => text.push_str("\\r"),
            control if control < ' ' => {
                write!(text, "\\u{:04x}", u32::from(control)).expect("writing to a string");
            }
            other => text.push(other),
        }
    }
    text.push('"');
}

/// A moment of the wall clock, shown as RFC 3339 in UTC.
struct Timestamp {
    seconds: u64,
    millis: u32,
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (days, second_of_day) = (self.seconds / 86_400, self.seconds % 86_400);
        // Years are counted from March, so that the leap day is a year's last, and in eras of 400
        // years, after which the calendar repeats.
        let days = days + 719_468;
        let (era, day_of_era) = (days / 146_097, days % 146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
        let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
        let year = era * 400 + year_of_era + u64::from(month <= 2);
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:03}Z",
            second_of_day / 3600,
            second_of_day / 60 % 60,
            second_of_day % 60,
            self.millis
        )
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    struct Lines(mpsc::Sender<String>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.send(String::from_utf8_lossy(bytes).into_owned()).expect("the test listens");
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_is_an_object() {
        let (sender, lines) = mpsc::channel();
        let log = Log::new(Level::Info, Lines(sender));
        log.debug("not shown").with("x", 1);
        log.info("a \"b\"\n\u{1}").with("path", "c\\d").number("count", 3);
        let line = lines.recv().expect("one line");
        let (head, tail) = line.split_once("\"msg\"").expect("a message");
        assert!(head.starts_with("{\"level\":\"info\",\"ts\":\""), "{head}");
        assert_eq!(tail, ":\"a \\\"b\\\"\\n\\u0001\",\"path\":\"c\\\\d\",\"count\":3}\n");
        assert!(lines.try_recv().is_err());
    }

    /// Takes nothing until it is told to.
    struct Blocked(Receiver<()>, Lines);

    impl Write for Blocked {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.0.recv();
            self.1.write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_log_that_nobody_reads_holds_nobody_up() {
        let (sender, lines) = mpsc::channel();
        let (go, wait) = mpsc::channel();
        let log = Log::new(Level::Info, Blocked(wait, Lines(sender)));
        for _ in 0..3 * WAITING_MAX {
            log.info("line");
        }
        drop(go);
        log.flush();
        log.info("after");
        log.flush();
        let lines: Vec<String> = lines.try_iter().collect();
        let told: usize = lines
            .iter()
            .filter_map(|line| line.split_once("\"lines-dropped-before\":"))
            .map(|(_, number)| number.trim_end_matches("}\n").parse::<usize>().expect("a number"))
            .sum();
        assert!(told >= WAITING_MAX, "{told} lines were dropped");
        assert_eq!(lines.len() + told, 3 * WAITING_MAX + 1);
    }

    #[test]
    fn timestamps() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00.007Z"),
            (951_782_399, "2000-02-28T23:59:59.007Z"),
            (951_782_400, "2000-02-29T00:00:00.007Z"),
            (1_709_251_200, "2024-03-01T00:00:00.007Z"),
            (4_102_444_799, "2099-12-31T23:59:59.007Z"),
        ] {
            assert_eq!(Timestamp { seconds, millis: 7 }.to_string(), text);
        }
    }
}
