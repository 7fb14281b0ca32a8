//! The wal thread: takes all records that wait, of all groups, and makes them durable with one sync.
//!
//! What arrives during a sync waits for the next one, so that the batches grow with the load and the
//! time of a sync by themselves: no timer decides how long to collect.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use quorate_node::{Healed, Scrubbed};
use quorate_raft::{GroupId, Persist, Record};
use quorate_wal::{Damaged, HealError, Wal, WalError, WalOptions};

use crate::clock::Clock;
use crate::config::HostEvent;
use crate::fatal::{Fatal, Fatality};
use crate::handle::{Shared, Signal};
use crate::inbox::Inbox;
use crate::report::Reporter;
use crate::scrub::{PIECE_BYTES, Pace};
use crate::wire;

/// What is made durable at once, in bytes, give or take one record. More is a burst that a slow disk
/// left, or a leader that keeps no bounds; it goes in pieces, as many as it takes.
pub(crate) const BATCH_BYTES: usize = 64 << 20;

/// How many entries go to the log at once. A record of the log has entries of one term, so what a peer sends
/// may take a header for each entry.
const APPEND_ENTRIES_MAX: usize = 1 << 16;

/// So many entries take less than this in the log, in bytes. An entry from a peer takes less than twice what
/// it took in its frame, and perhaps a header; what this member proposes at once is bounded as
/// uncommitted.
pub(crate) const APPEND_BYTES_MAX: usize = 2 * wire::FRAME_BYTES_MAX + 128 * APPEND_ENTRIES_MAX;

const _: () = assert!(
    BATCH_BYTES + APPEND_BYTES_MAX <= Wal::BATCH_BYTES_MAX,
    "any record fits behind a batch that is not full"
);

/// How the log is laid out. Whatever the codec lets in must fit into a record: a peer with other
/// limits is no reason to fail.
pub(crate) fn wal_options() -> WalOptions {
    WalOptions { record_bytes_max: 2 * wire::ENTRY_BYTES_MAX, ..WalOptions::default() }
}

/// What the log has to do. The inbox is bounded by what Raft lets be under way: uncommitted bytes on a
/// leader, and on a follower what its leader has in flight to it.
pub(crate) enum WalJob {
    /// Write this record.
    Persist(GroupId, Persist),
    /// Become what the group has healed to.
    Heal(GroupId, Box<Healed>),
}

/// The log, as it was opened.
pub(crate) enum Log {
    /// It takes records.
    Whole(Box<Wal>),
    /// It takes nothing before it is healed.
    Damaged(Box<Damaged>),
    /// It is being healed, or that failed.
    Changing,
}

impl Log {
    /// The log, which takes records.
    ///
    /// # Panics
    /// If it is damaged: nothing takes part then that could write.
    fn whole(&mut self) -> &mut Wal {
        match self {
            Self::Whole(wal) => wal,
            Self::Damaged(_) | Self::Changing => {
                panic!("a log that is damaged was to be written to")
            }
        }
    }
}

/// Why the log is at its end.
#[derive(Debug)]
pub(crate) struct Failure {
    report: String,
    /// Whether it can't be healed, now or later.
    is_lost: bool,
}

impl Failure {
    fn of_healing(error: &HealError) -> Self {
        let is_lost = matches!(error, HealError::TooLarge { .. });
        Self { report: error.to_string(), is_lost }
    }
}

impl From<WalError> for Failure {
    fn from(error: WalError) -> Self {
        Self { report: error.to_string(), is_lost: false }
    }
}

impl From<&str> for Failure {
    fn from(report: &str) -> Self {
        Self { report: report.to_owned(), is_lost: false }
    }
}

/// The wal thread.
pub(crate) struct WalThread<O> {
    /// The log.
    pub(crate) log: Log,
    /// What is made durable at once: [`BATCH_BYTES`].
    pub(crate) batch_bytes: usize,
    /// What to write.
    pub(crate) inbox: Arc<Inbox<WalJob>>,
    /// Where to report.
    pub(crate) shared: Arc<Shared<O>>,
    /// The clock, to measure syncs.
    pub(crate) clock: Clock,
    /// When the next piece of the log is verified.
    pub(crate) pace: Pace,
    /// Whom to tell of damage.
    pub(crate) reporter: Arc<Reporter>,
    /// The end of everything, if the log fails.
    pub(crate) fatal: Arc<Fatal>,
}

impl<O: Send + 'static> WalThread<O> {
    /// Writes until the inbox is closed and empty.
    pub(crate) fn run(mut self) {
        let mut jobs = Vec::new();
        while !self.inbox.is_finished() {
            self.inbox.take(self.rest(), &mut jobs);
            if self.fatal.has_happened() {
                return;
            }
            // The pages may be lost though marked clean, so a second try could succeed without having
            // written them. Only a restart reads what is really there.
            if let Err(error) = self.turn(&mut jobs) {
                let Failure { report, is_lost } = error;
                let report = format!("the log failed: {report}");
                self.fatal.happened(Fatality { is_log_lost: is_lost, ..report.into() });
                return;
            }
        }
    }

    /// Makes these records durable, and verifies a piece of the log if it is time: also under load that
    /// never ends, or nothing would ever be verified then.
    fn turn(&mut self, jobs: &mut Vec<WalJob>) -> Result<(), Failure> {
        if !jobs.is_empty() {
            let news = self.write(jobs)?;
            if self.inbox.is_empty() {
                news.into_iter().for_each(|signal| self.shared.report(signal));
            } else {
                // With records waiting, the disk is what this thread is for.
                self.shared.inbox.push_own(news);
            }
            // The acknowledgement is on its way; this can follow.
            if let Log::Whole(wal) = &mut self.log {
                wal.mark();
            }
        }
        Ok(self.scrub_if_due()?)
    }

    /// How long to wait for a job. A log that is yet to be healed has nothing to verify.
    fn rest(&self) -> Duration {
        match &self.log {
            Log::Whole(_) => self.pace.due().since(self.clock.now()),
            Log::Damaged(_) | Log::Changing => Duration::MAX,
        }
    }

    /// Verifies the next piece of the log, if its time has come. What is damaged is written anew from
    /// memory.
    fn scrub_if_due(&mut self) -> Result<(), WalError> {
        let now = self.clock.now();
        let Log::Whole(wal) = &mut self.log else { return Ok(()) };
        if now < self.pace.due() {
            return Ok(());
        }
        let scrubbed = wal.scrub(PIECE_BYTES)?;
        self.shared.metrics.scrubbed_bytes.add(scrubbed.bytes);
        if let Some(report) = scrubbed.damage {
            self.reporter.tell(&HostEvent::LogMended { report: report.to_string() });
        }
        if scrubbed.is_mark_damaged {
            let report = "the mark beside the log was damaged".to_owned();
            self.reporter.tell(&HostEvent::LogMended { report });
        }
        let (bytes, cycle_ended) = (scrubbed.bytes, scrubbed.is_round);
        self.pace.scrubbed(now, Some(Scrubbed { bytes, total: wal.stats().bytes, cycle_ended }));
        Ok(())
    }

    /// Makes the records durable. Returns what there is to tell.
    fn write(&mut self, jobs: &mut Vec<WalJob>) -> Result<Vec<Signal<O>>, Failure> {
        let mut last = BTreeMap::new();
        let mut news = Vec::new();
        self.shared.metrics.wal_records.add(jobs.len() as u64);
        for job in jobs.drain(..) {
            match job {
                WalJob::Persist(group, Persist { seq, record }) => {
                    self.append(group, &record)?;
                    last.insert(group, seq);
                }
                WalJob::Heal(group, healed) => {
                    self.heal(group, *healed)?;
                    news.push(Signal::Healed(group));
                }
            }
        }
        if !last.is_empty() {
            self.commit()?;
            news.push(Signal::Durable(last.into_iter().collect()));
        }
        Ok(news)
    }

    /// Makes the log of a group what it has healed to.
    fn heal(&mut self, group: GroupId, healed: Healed) -> Result<(), Failure> {
        let Healed { recovered, dropped_after, records } = healed;
        if let Log::Damaged(_) = &self.log {
            let log = std::mem::replace(&mut self.log, Log::Changing);
            let Log::Damaged(damaged) = log else { unreachable!("it was damaged") };
            let log = quorate_wal::Healed { recovered, dropped_after };
            let healed = damaged.heal([(group, log)].into());
            let wal = healed.map_err(|error| Failure::of_healing(&error))?;
            self.log = Log::Whole(Box::new(wal));
            return Ok(());
        }
        for record in records.ok_or("a log that is whole was healed as a damaged one")? {
            self.log.whole().append(group, &record);
        }
        Ok(self.commit()?)
    }

    fn append(&mut self, group: GroupId, record: &Record) -> Result<(), WalError> {
        match record {
            Record::Append(entries) if entries.len() > APPEND_ENTRIES_MAX => {
                for piece in entries.chunks(APPEND_ENTRIES_MAX) {
                    self.append_piece(group, &Record::Append(piece.to_vec()))?;
                }
                Ok(())
            }
            record => self.append_piece(group, record),
        }
    }

    fn append_piece(&mut self, group: GroupId, record: &Record) -> Result<(), WalError> {
        let wal = self.log.whole();
        wal.append(group, record);
        if wal.batch_bytes() >= self.batch_bytes {
            self.commit()?;
        }
        Ok(())
    }

    fn commit(&mut self) -> Result<(), WalError> {
        let start = self.clock.now();
        let bytes = self.log.whole().batch_bytes();
        self.log.whole().commit()?;
        self.shared.metrics.wal_bytes.add(bytes as u64);
        self.shared.metrics.wal_sync.record(self.clock.now().since(start));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use quorate_node::{Envelope, EnvelopeBody};
    use quorate_raft::{
        Append, Body, Entry, EntryId, Index, Message, NodeId, Payload, Seq, Term, Time,
    };
    use quorate_wal::{Disk as _, MemDisk, Opened};

    use super::*;
    use crate::config::Limits;
    use crate::metrics::Metrics;
    use crate::wire::Packet;

    const GROUP: GroupId = GroupId(1);

    fn thread(disk: &MemDisk, batch_bytes: usize) -> WalThread<()> {
        let (wal, _) = Wal::open_whole(Box::new(disk.clone()), wal_options()).unwrap();
        let metrics = Arc::new(Metrics::default());
        let fatal = Fatal::new(Box::new(|| {}), Arc::new(|what: &Fatality| panic!("{what}")));
        WalThread {
            log: Log::Whole(Box::new(wal)),
            batch_bytes,
            inbox: Arc::new(Inbox::new(0)),
            shared: Arc::new(Shared::new(NodeId(1), Limits::default(), metrics)),
            clock: Clock::start(),
            pace: Pace::new(Time(0), Duration::MAX),
            reporter: Arc::new(Reporter::new(Arc::new(|event: &HostEvent| panic!("{event}")))),
            fatal: Arc::new(fatal),
        }
    }

    fn persist(seq: u64, entries: Vec<Entry>) -> WalJob {
        WalJob::Persist(GROUP, Persist { seq: Seq(seq), record: Record::Append(entries) })
    }

    /// Writes, and returns what is durable.
    fn written(thread: &mut WalThread<()>, jobs: &mut Vec<WalJob>) -> Vec<(GroupId, Seq)> {
        let news = thread.write(jobs).expect("the disk works");
        let durable = news.into_iter().map(|signal| match signal {
            Signal::Durable(durable) => durable,
            _ => panic!("nothing was healed"),
        });
        durable.flatten().collect()
    }

    fn append(after: u64, payloads: impl IntoIterator<Item = Payload>) -> Vec<Entry> {
        let id = |index| EntryId { term: Term(1), index: Index(index) };
        (after + 1..)
            .zip(payloads)
            .map(|(index, payload)| Entry { id: id(index), payload })
            .collect()
    }

    fn command(bytes: usize) -> Payload {
        Payload::Command(Bytes::from(vec![0; bytes]))
    }

    /// What a follower gets of these entries, if its codec lets them in.
    fn received(entries: Vec<Entry>) -> Option<(Vec<Entry>, usize)> {
        let (from, to) = (NodeId(2), NodeId(1));
        let append = Append { previous: EntryId::ZERO, entries, commit: Index(0) };
        let message =
            Message { from, to, term: Term(1), rejoining: None, body: Body::Append(append) };
        let body = EnvelopeBody::Raft(message);
        let packet = Packet::Envelope(Envelope { group: GROUP, from, to, body });
        let mut frame = bytes::BytesMut::new();
        wire::encode(&packet, &mut frame).ok()?;
        let bytes = frame.len();
        let body = wire::split_frame(&mut frame).ok()??;
        let Packet::Envelope(envelope) = wire::decode(body, from, to).ok()? else { return None };
        let EnvelopeBody::Raft(message) = envelope.body else { return None };
        let Body::Append(append) = message.body else { return None };
        Some((append.entries, bytes))
    }

    #[test]
    fn a_burst_goes_in_pieces_and_is_durable_to_the_last_record() {
        let disk = MemDisk::new();
        let mut thread = thread(&disk, 1_000);
        let mut jobs: Vec<WalJob> =
            (0..50).map(|n| persist(n + 1, append(n, [command(100)]))).collect();
        assert_eq!(written(&mut thread, &mut jobs), [(GROUP, Seq(50))]);
        // Each takes 128 bytes for its header and 108 for its body, filled up to 112.
        assert_eq!(thread.shared.metrics.wal_sync.count(), 11, "five records in each piece");
        let (_, recovered) = Wal::open_whole(Box::new(disk.copy()), wal_options()).unwrap();
        assert_eq!(recovered[&GROUP].entries.len(), 50);
    }

    #[test]
    fn the_log_is_verified_under_load_too() {
        let mut thread = thread(&MemDisk::new(), BATCH_BYTES);
        assert_eq!(written(&mut thread, &mut vec![persist(1, append(0, [command(9)]))]).len(), 1);
        thread.pace = Pace::new(Time(0), Duration::ZERO);
        thread.turn(&mut vec![persist(2, append(1, [command(9)]))]).unwrap();
        assert!(thread.shared.metrics.scrubbed_bytes.get() > 0);
    }

    #[test]
    fn a_damaged_log_waits_for_what_heals_it_and_for_nothing_else() {
        let disk = MemDisk::new();
        let mut thread = thread(&disk, BATCH_BYTES);
        for seq in 1..=3 {
            let payload = Payload::Command(Bytes::from_static(b"sensitive"));
            thread.turn(&mut vec![persist(seq, append(seq - 1, [payload]))]).unwrap();
        }
        let mut flipped = disk.copy();
        let segment = flipped.segments().unwrap()[0];
        flipped.damage(segment, |bytes| {
            let body = bytes.windows(9).position(|nine| nine == b"sensitive").expect("it is there");
            bytes[body] ^= 1;
        });
        let opened = Wal::open(Box::new(flipped), wal_options()).unwrap();
        let Opened::Damaged(damaged) = opened else { panic!("a byte of a record has changed") };
        thread.log = Log::Damaged(damaged);
        thread.pace = Pace::new(Time(0), Duration::ZERO);
        assert_eq!(thread.rest(), Duration::MAX);
    }

    #[test]
    fn a_log_that_is_too_large_to_be_healed_is_lost_and_one_whose_disk_refuses_is_not() {
        assert!(Failure::of_healing(&HealError::TooLarge { bytes: 2 << 30 }).is_lost);
        let refused = HealError::Io { attempt: "sync", source: std::io::ErrorKind::Other.into() };
        assert!(!Failure::of_healing(&refused).is_lost);
    }

    #[test]
    fn entries_of_very_many_terms_go_in_pieces_too() {
        let disk = MemDisk::new();
        let mut thread = thread(&disk, 1);
        let count = 2 * APPEND_ENTRIES_MAX as u64 + 1;
        let entries =
            (1..=count).map(|n| Entry { id: EntryId::new(n, n), payload: Payload::Noop }).collect();
        let mut jobs = vec![persist(1, entries)];
        assert_eq!(written(&mut thread, &mut jobs), [(GROUP, Seq(1))]);
        assert_eq!(thread.shared.metrics.wal_sync.count(), 4, "three pieces, and nothing after");
        let (_, recovered) = Wal::open_whole(Box::new(disk.copy()), wal_options()).unwrap();
        assert_eq!(recovered[&GROUP].entries.len() as u64, count);
    }

    #[test]
    fn the_largest_entry_that_a_peer_may_send_fits_into_a_record_and_a_larger_one_is_refused() {
        let largest = append(0, [command(wire::ENTRY_BYTES_MAX)]);
        let (entries, _) = received(largest).expect("the codec lets it in");
        let disk = MemDisk::new();
        let mut thread = thread(&disk, BATCH_BYTES);
        let mut jobs = vec![persist(1, entries)];
        assert_eq!(written(&mut thread, &mut jobs), [(GROUP, Seq(1))]);
        assert!(received(append(0, [command(wire::ENTRY_BYTES_MAX + 1)])).is_none());
    }

    #[test]
    fn entries_take_less_than_twice_their_frame_in_the_log() {
        for payloads in
            [vec![Payload::Noop; 20_000], vec![command(0); 20_000], vec![command(9); 9_000]]
        {
            let (entries, frame_bytes) =
                received(append(0, payloads)).expect("the codec lets them in");
            let disk = MemDisk::new();
            let mut thread = thread(&disk, BATCH_BYTES);
            thread.log.whole().append(GROUP, &Record::Append(entries));
            let taken = thread.log.whole().batch_bytes();
            assert!(taken < 2 * frame_bytes, "{taken} bytes of a frame of {frame_bytes}");
        }
    }
}
