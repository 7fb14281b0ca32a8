//! What was asked and answered, short enough to be kept, whole enough to be compared.

use std::fmt::Debug;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use tonic::Status;

/// So much of an answer is kept to be shown; all of it is compared.
const SHOWN: usize = 400;

/// A request, the beginning of its answer, and a digest of all of that.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Line {
    asked: String,
    answer: String,
    digest: u64,
}

/// All lines, in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Transcript(Vec<Line>);

impl Transcript {
    /// How many answers there are.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Forgets all answers but the first.
    pub(crate) fn truncate(&mut self, length: usize) {
        self.0.truncate(length);
    }

    /// Notes an answer, out of which was taken what names the cluster.
    pub(crate) fn note(&mut self, asked: String, answer: &impl Debug) {
        let answer = format!("{answer:?}");
        let mut hasher = DefaultHasher::new();
        answer.hash(&mut hasher);
        let answer = answer.chars().take(SHOWN).collect();
        self.0.push(Line { asked, answer, digest: hasher.finish() });
    }

    /// Notes an error: its code and its text.
    pub(crate) fn error(&mut self, asked: String, status: &Status) {
        self.note(asked, &(status.code(), status.message()));
    }

    /// The first line in which two transcripts differ.
    pub(crate) fn difference(&self, other: &Self) -> Option<String> {
        let length = self.0.len().max(other.0.len());
        let at = (0..length).find(|&at| self.0.get(at) != other.0.get(at))?;
        Some(format!(
            "answer {at}:\n  etcd:    {:?}\n  quorate: {:?}",
            self.0.get(at),
            other.0.get(at)
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_shown_is_compared() {
        let of = |answers: &[String]| {
            let mut transcript = Transcript::default();
            answers.iter().for_each(|answer| transcript.note("get".to_owned(), answer));
            transcript
        };
        let long = |end: &str| format!("{}{end}", "x".repeat(2 * SHOWN));
        let whole = of(&["a".to_owned(), long("1")]);
        assert_eq!(whole.difference(&whole), None);
        for other in [of(&["a".to_owned(), long("2")]), of(&["a".to_owned()])] {
            let difference = whole.difference(&other).unwrap();
            assert!(difference.starts_with("answer 1:"), "{difference}");
        }
    }
}
