//! What the fuzzer does to a connection with tags.

use std::io::{self, Read};
use std::sync::LazyLock;

use bytes::Bytes;

use super::super::hello::{self, ANSWER_BYTES, CALL_BYTES, Keys};
use super::super::secrets::Secret;
use super::Open;

static SECRET: LazyLock<Secret> = LazyLock::new(|| {
    let bytes: Vec<u8> = (1..=64).collect();
    Secret::new(&bytes).expect("a good one")
});

/// Where the nonce of a call is.
const NONCE: std::ops::Range<usize> = 10..42;

/// Bytes at some places, to be changed there.
type Changes<'a> = &'a [(usize, u8)];

fn change(bytes: &mut [u8], changes: Changes<'_>) -> bool {
    let before = bytes.to_vec();
    for (at, bits) in changes {
        let at = at % bytes.len();
        bytes[at] ^= bits;
    }
    before != bytes
}

/// What somebody says who connects, and who accepts.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// The call, as it comes; what it lacks is zeros.
    pub call: &'a [u8],
    /// The answer to another call.
    pub answer: &'a [u8],
    /// What is changed in a good call.
    pub in_call: Changes<'a>,
    /// What is changed in a good answer.
    pub in_answer: Changes<'a>,
}

/// The exchange that begins a connection.
///
/// # Panics
/// If somebody is believed who does not know the secret, or somebody is not who does.
pub fn call(said: Call<'_>) {
    let padded = |bytes: &[u8], length: usize| {
        let mut all = bytes.to_vec();
        all.resize(length, 0);
        all
    };
    for end in 0..said.call.len().min(CALL_BYTES) {
        if hello::check_head(&said.call[..end]).is_err() {
            break;
        }
    }
    let made_up: [u8; CALL_BYTES] =
        padded(said.call, CALL_BYTES).try_into().expect("as long as a call");
    let secrets = [SECRET.clone()];
    match hello::answer(&secrets, &made_up, &[2; 32]) {
        Err(error) => drop(hello::refusal(&error)),
        Ok(_) => {
            // The fuzzer sees with what a tag is compared, and so finds the right one.
            let nonce = made_up[NONCE].try_into().expect("32 bytes");
            assert_eq!(made_up, hello::call(&SECRET, &nonce), "who is believed made the call");
        }
    }
    let mut call = hello::call(&SECRET, &[1; 32]);
    let is_changed = change(&mut call, said.in_call);
    let answered = hello::answer(&secrets, &call, &[2; 32]);
    assert_eq!(answered.is_ok(), !is_changed, "who is believed made the call");
    let Ok((mut answer, _)) = answered else { return };
    let is_changed = change(&mut answer, said.in_answer);
    assert_eq!(hello::heed(&SECRET, &call, &answer).is_ok(), !is_changed);
    let made_up: [u8; ANSWER_BYTES] =
        padded(said.answer, ANSWER_BYTES).try_into().expect("as long as an answer");
    let _ = hello::heed(&SECRET, &call, &made_up);
}

/// What goes over a connection.
#[derive(Clone, Copy, Debug)]
pub struct Link<'a> {
    /// What is said, one after the other.
    pub said: &'a [Bytes],
    /// What is changed of the records on their way.
    pub changes: Changes<'a>,
    /// What comes behind them.
    pub behind: &'a [u8],
    /// How much of it arrives at once, at most.
    pub step: usize,
    /// How much is read at once, at most.
    pub window: usize,
}

/// The records after that exchange.
///
/// # Panics
/// If anything is believed that was not said, or not in its turn.
pub fn link(on: Link<'_>) {
    let call = hello::call(&SECRET, &[1; 32]);
    let (answer, hears) =
        hello::answer(std::slice::from_ref(&SECRET), &call, &[2; 32]).expect("a good call");
    let mut speaks = hello::heed(&SECRET, &call, &answer).expect("a good answer");
    let mut records = Vec::new();
    for piece in on.said {
        speaks.sealer.seal(piece, &mut records);
    }
    let is_changed = !records.is_empty() && change(&mut records, on.changes);
    records.extend_from_slice(on.behind);
    let (heard, end) = hear(hears, Arriving { left: &records, step: on.step.max(1) }, on.window);
    let said = on.said.concat();
    assert!(is_changed || heard.starts_with(&said), "all that was said is heard");
    // What comes behind may have a right tag: the fuzzer sees with what tags are compared.
    if on.behind.is_empty() {
        assert!(said.starts_with(&heard), "only what was said is heard");
        assert!(!is_changed || heard.len() < said.len(), "a record that was changed is not heard");
    }
    if let Err(error) = end {
        assert!(error.get_ref().is_some(), "the reason is told: {error}");
    }
}

/// Bytes that arrive little by little, and then the end.
struct Arriving<'a> {
    left: &'a [u8],
    step: usize,
}

impl Read for Arriving<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = buffer.len().min(self.step).min(self.left.len());
        buffer[..count].copy_from_slice(&self.left[..count]);
        self.left = &self.left[count..];
        Ok(count)
    }
}

fn hear(keys: Keys, mut arriving: Arriving<'_>, window: usize) -> (Vec<u8>, io::Result<()>) {
    let (mut open, mut heard) = (Open::new(keys), Vec::new());
    let mut buffer = vec![0; window.clamp(1, 4096)];
    loop {
        match open.read(&mut arriving, &mut buffer) {
            Ok(0) => return (heard, Ok(())),
            Ok(read) => heard.extend_from_slice(&buffer[..read]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (heard, Err(error)),
        }
    }
}
