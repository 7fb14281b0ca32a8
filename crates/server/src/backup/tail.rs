//! What the log of an etcd has that its backend has not.
//!
//! etcd writes to its log before it answers, and to its backend some time later: one that was killed may have answered
//! requests that are in its log alone. Here nobody carries those out, so its data directory is refused. One that was
//! asked to end leaves nothing behind.
//!
//! ```text
//! file    = name (number and first index) · frames
//! frame   = length (7 bytes) · how many bytes of padding (3 bits of the next) · record · padding
//! record  = kind · checksum, continued from the record before · data
//! ```

use std::fs::{self, File};
use std::io::{BufReader, ErrorKind, Read};
use std::path::{Path, PathBuf};

use prost::Message as _;
use quorate_mvcc::hash::crc32c;

use super::messages::{Entry, WalRecord, WalSnapshot};

/// The kinds of records.
const ENTRY: i64 = 2;
const CRC: i64 = 4;
const SNAPSHOT: i64 = 5;

/// The longest record that is believed, in bytes.
const RECORD_BYTES_MAX: u64 = 256 << 20;

/// What the operator can do.
const ADVICE: &str =
    "start that etcd and end it with SIGTERM, or save a snapshot of it, and try again";

/// Refuses a log that has requests behind the last that the backend has.
///
/// # Errors
/// If it has, or can't be read. The text is meant for the operator.
pub(super) fn check(wal: &Path, applied: u64) -> Result<(), String> {
    let refused = |why: &str| Err(format!("{}: {why}; {ADVICE}", wal.display()));
    let mut files = files(wal)?;
    // The last that begins where something could be missing, and those behind it.
    let begin = files.iter().rposition(|(first, _)| *first <= applied.saturating_add(1));
    let Some(begin) = begin else {
        return refused("there is no log of what comes after the backend");
    };
    let mut tail = Tail::default();
    for (_, path) in files.drain(begin..) {
        if let Err(why) = tail.read(&path, applied) {
            return refused(&format!("{}: {why}", path.display()));
        }
    }
    if tail.snapshot > applied {
        return refused("the backend is older than the last snapshot that this member received");
    }
    let missing = tail.behind.iter().filter(|(_, matters)| *matters).count();
    match tail.behind.last() {
        Some((last, _)) if missing > 0 => refused(&format!(
            "{missing} requests up to entry {last} are in this log and not in the backend, which ends with entry \
             {applied}, and would be lost"
        )),
        _ => Ok(()),
    }
}

/// The files of a log, with the first index that each may have.
fn files(wal: &Path) -> Result<Vec<(u64, PathBuf)>, String> {
    let failed = |error: std::io::Error| format!("{}: {error}", wal.display());
    let mut files = Vec::new();
    for entry in fs::read_dir(wal).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let numbers = name.strip_suffix(".wal").and_then(|name| name.split_once('-'));
        let numbers = numbers.and_then(|(number, first)| {
            let parse = |text| u64::from_str_radix(text, 16).ok();
            Some((parse(number)?, parse(first)?))
        });
        if let Some((number, first)) = numbers {
            files.push((number, first, path));
        }
    }
    files.sort();
    Ok(files.into_iter().map(|(_, first, path)| (first, path)).collect())
}

/// What was read so far.
#[derive(Debug, Default)]
pub(super) struct Tail {
    crc: Option<u32>,
    /// The entries behind the last that was applied, and whether each matters.
    behind: Vec<(u64, bool)>,
    /// The last snapshot that the member had.
    snapshot: u64,
}

impl Tail {
    fn read(&mut self, path: &Path, applied: u64) -> Result<(), String> {
        let failed = |error: std::io::Error| error.to_string();
        let file = File::open(path).map_err(failed)?;
        let bytes = file.metadata().map_err(failed)?.len();
        self.take_all(BufReader::new(file), bytes, applied)
    }

    /// Takes the records of a file of so many bytes.
    pub(super) fn take_all(
        &mut self,
        mut file: impl Read,
        mut left: u64,
        applied: u64,
    ) -> Result<(), String> {
        let failed = |error: std::io::Error| error.to_string();
        loop {
            let mut frame = [0; 8];
            match file.read_exact(&mut frame) {
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(()),
                read => read.map_err(failed)?,
            }
            let frame = u64::from_le_bytes(frame);
            // The rest of a file is made beforehand, and empty.
            if frame == 0 {
                return Ok(());
            }
            let length = frame & (u64::MAX >> 8);
            let padding = if frame >> 63 == 1 { frame >> 56 & 7 } else { 0 };
            left = left.saturating_sub(8);
            if length > RECORD_BYTES_MAX || length + padding > left {
                return Err("a record does not fit into the file: it is damaged".to_owned());
            }
            left -= length + padding;
            let mut bytes = vec![0; (length + padding) as usize];
            file.read_exact(&mut bytes).map_err(failed)?;
            let record = WalRecord::decode(&bytes[..length as usize]);
            self.take(&record.map_err(|_| damaged())?, applied)?;
        }
    }

    fn take(&mut self, record: &WalRecord, applied: u64) -> Result<(), String> {
        if record.kind == CRC {
            // Each file begins with the checksum of all before.
            if self.crc.is_some_and(|crc| crc != record.crc) {
                return Err(damaged());
            }
            self.crc = Some(record.crc);
            return Ok(());
        }
        let before = self.crc.ok_or_else(damaged)?;
        let crc = crc32c(before, &record.data);
        if crc != record.crc {
            return Err(damaged());
        }
        self.crc = Some(crc);
        match record.kind {
            ENTRY => {
                let entry = Entry::decode(&record.data[..]).map_err(|_| damaged())?;
                // It takes the place of what another leader had left there.
                while self.behind.last().is_some_and(|(last, _)| *last >= entry.index) {
                    self.behind.pop();
                }
                if entry.index > applied {
                    self.behind.push((entry.index, matters(&entry)));
                }
            }
            SNAPSHOT => {
                let snapshot = WalSnapshot::decode(&record.data[..]).map_err(|_| damaged())?;
                self.snapshot = self.snapshot.max(snapshot.index);
            }
            _ => {}
        }
        Ok(())
    }
}

fn damaged() -> String {
    "it is damaged".to_owned()
}

/// Whether an entry may change something that is imported.
fn matters(entry: &Entry) -> bool {
    entry.kind == 0 && !entry.data.is_empty() && may_change(&entry.data)
}

/// Whether a request may, by the numbers of its fields: all but those for members, versions, checkpoints and tokens.
fn may_change(mut data: &[u8]) -> bool {
    let mut changes = false;
    while !data.is_empty() {
        let Ok((number, wire)) = prost::encoding::decode_key(&mut data) else { return true };
        // A request of etcd's second API, by which members tell their names: its fifth field is a flag.
        if number == 5 && wire == prost::encoding::WireType::Varint {
            return false;
        }
        let harmless = matches!(number, 1..=3 | 11 | 100 | 1012 | 1300..=1302);
        changes |= !harmless;
        let context = prost::encoding::DecodeContext::default();
        if prost::encoding::skip_field(wire, number, &mut data, context).is_err() {
            return true;
        }
    }
    changes
}
