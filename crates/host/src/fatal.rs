//! The end of a member that must not go on.
//!
//! A sync that failed, a machine that can't apply, an assertion about our own state: after any of
//! these, the process must not acknowledge anything more, since it no longer knows what is true.
//! First every door is closed, then the operator is told.

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use quorate_node::FaultKind;

/// What ended a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fatality {
    /// What is wrong with the state machine, if it is that. By this the caller decides whether the
    /// member can begin anew.
    pub machine: Option<FaultKind>,
    /// Whether the log is damaged so that it can't be healed: the member has to begin anew, as one that
    /// lost its disk.
    pub is_log_lost: bool,
    /// What happened, for the operator.
    pub report: String,
}

impl From<String> for Fatality {
    fn from(report: String) -> Self {
        Self { machine: None, is_log_lost: false, report }
    }
}

impl fmt::Display for Fatality {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.report)
    }
}

/// Ends a member.
pub(crate) struct Fatal {
    happened: AtomicBool,
    close: Box<dyn Fn() + Send + Sync>,
    tell: Arc<dyn Fn(&Fatality) + Send + Sync>,
}

impl Fatal {
    /// `close` lets no work in any more and wakes every thread; `tell` usually ends the process.
    pub(crate) fn new(
        close: Box<dyn Fn() + Send + Sync>,
        tell: Arc<dyn Fn(&Fatality) + Send + Sync>,
    ) -> Self {
        Self { happened: AtomicBool::new(false), close, tell }
    }

    /// Something happened after which this member must not go on. Told once.
    pub(crate) fn happened(&self, what: impl Into<Fatality>) {
        if !self.happened.swap(true, Ordering::SeqCst) {
            (self.close)();
            (self.tell)(&what.into());
        }
    }

    /// Whether nothing may be acknowledged or written any more.
    pub(crate) fn has_happened(&self) -> bool {
        self.happened.load(Ordering::SeqCst)
    }

    /// As if something fatal had happened, without a word: how a test pulls the plug.
    pub(crate) fn pull_the_plug(&self) {
        if !self.happened.swap(true, Ordering::SeqCst) {
            (self.close)();
        }
    }

    /// Runs a thread. A panic in it is fatal: it says that our own state is not what we believe.
    pub(crate) fn guard(&self, thread: &str, body: impl FnOnce()) {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(body)) {
            self.happened(format!("the {thread} thread panicked: {}", words(&*panic)));
        }
    }
}

/// What a panic said.
fn words(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without a word")
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn the_doors_close_before_anybody_is_told_and_once() {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let (closed, told) = (Arc::clone(&heard), Arc::clone(&heard));
        let fatal = Fatal::new(
            Box::new(move || closed.lock().unwrap().push("closed".into())),
            Arc::new(move |what: &Fatality| told.lock().unwrap().push(what.to_string())),
        );
        assert!(!fatal.has_happened());
        fatal.guard("first", || panic!("at {}", 1));
        fatal.guard("second", || panic!("later"));
        fatal.pull_the_plug();
        assert!(fatal.has_happened());
        assert_eq!(*heard.lock().unwrap(), ["closed", "the first thread panicked: at 1"]);
    }
}
