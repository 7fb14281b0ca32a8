//! Ranges: which keys live at a revision, and what a client asked of them.
//!
//! The same code serves readers on a view and transactions that see their own writes; the
//! difference is in the [`Snapshot`] it is given.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::cmp::Ordering;
use core::ops::Bound;

use bytes::Bytes;

use crate::engine::{EngineError, Reader, Rows, Table};
use crate::error::{Error, ReadError};
use crate::key::KeyRange;
use crate::request::{RangeRequest, SortOrder, SortTarget};
use crate::response::{KeyValue, Page, RangeResponse, Room};
use crate::revision::Revision;
use crate::rows;

/// What is read, and where in its history it stands.
#[derive(Clone, Copy)]
pub(crate) struct Snapshot<'a> {
    pub(crate) reader: &'a dyn Reader,
    /// The newest revision in it.
    pub(crate) revision: i64,
    /// The oldest revision that may be read, -1 if nothing was ever compacted.
    pub(crate) compacted: i64,
}

impl<'a> Snapshot<'a> {
    /// The revision to read for a request that names `wanted`.
    pub(crate) fn revision_to_read(&self, wanted: i64) -> Result<i64, Error> {
        if wanted <= 0 {
            Ok(self.revision)
        } else if wanted > self.revision {
            Err(Error::FutureRevision)
        } else if wanted < self.compacted {
            Err(Error::Compacted)
        } else {
            Ok(wanted)
        }
    }

    /// The keys that live now in a range.
    pub(crate) fn live(&self, range: &KeyRange) -> Live<'a> {
        self.live_at(range, self.revision)
    }

    fn live_at(&self, range: &KeyRange, at: i64) -> Live<'a> {
        let is_now = at == self.revision;
        Live::new(self.reader, range, at, is_now && matches!(range, KeyRange::Point(_)))
    }

    /// One key as it is now.
    pub(crate) fn get(&self, key: &Bytes) -> Result<Option<KeyValue>, EngineError> {
        match self.live(&KeyRange::Point(key.clone())).next()? {
            Some(found) => found.kv().map(Some),
            None => Ok(None),
        }
    }

    /// The next keys of a range, up to so many of them, and up to so many bytes if that is at least one.
    pub(crate) fn page(
        &self,
        range: &KeyRange,
        revision: i64,
        keys_max: usize,
        bytes_max: usize,
    ) -> Result<Page, ReadError> {
        let at = self.revision_to_read(revision)?;
        let mut live = self.live_at(range, at);
        let mut page = Page { kvs: Vec::new(), bytes: 0, rest: None };
        while page.kvs.len() < keys_max.max(1) && page.bytes < bytes_max.max(1) {
            let Some(found) = live.next()? else { return Ok(page) };
            let kv = found.kv()?;
            page.bytes += kv.room();
            page.kvs.push(kv);
        }
        page.rest = page.kvs.last().and_then(|last| range.behind(&last.key));
        Ok(page)
    }

    /// Answers a range. Ends early where there is no room for the answer.
    pub(crate) fn range(
        &self,
        request: &RangeRequest,
        room: &mut Room,
    ) -> Result<RangeResponse, ReadError> {
        let at = self.revision_to_read(request.revision)?;
        let mut live = self.live_at(&request.range, at);
        let mut count = 0;
        let mut selection = Selection::new(request);
        while room.has(selection.room)
            && let Some(found) = live.next()?
        {
            count += 1;
            if !request.count_only && selection.wants_more() {
                selection.add(found.kv()?);
            }
        }
        room.take(selection.room);
        let (kvs, more) = selection.finish();
        Ok(RangeResponse { revision: self.revision, kvs, more, count })
    }
}

/// How many rows of one key a scan walks past before it seeks beyond them. A seek costs about as
/// much as a dozen steps.
const STEPS_MAX: u32 = 12;

/// The keys that live at a revision, in order.
///
/// The rows of a key come newest first. The first one that is not too new decides; the others are
/// passed over, and since there may be very many, soon by a new seek.
pub(crate) struct Live<'a> {
    reader: &'a dyn Reader,
    at: i64,
    rows: Rows<'a>,
    end: Bound<Vec<u8>>,
    /// The key whose rows are being walked.
    prefix: Bytes,
    /// Whether the row that decides about it has been seen.
    decided: bool,
    /// How many of its rows were walked past since.
    steps: u32,
}

/// A key that lives.
pub(crate) struct Found {
    prefix: Bytes,
    revision: Revision,
    record: Bytes,
}

impl Found {
    pub(crate) fn kv(&self) -> Result<KeyValue, EngineError> {
        rows::read_put(&self.prefix, self.revision, &self.record)
    }
}

impl<'a> Live<'a> {
    /// `newest_only` if the newest row in the range decides: the search is cheaper than a scan then.
    fn new(reader: &'a dyn Reader, range: &KeyRange, at: i64, newest_only: bool) -> Self {
        let (from, end) = rows::key_bounds(range);
        let bounds = (Bound::Included(&from[..]), as_slice(&end));
        let rows: Rows<'a> = if newest_only {
            Box::new(reader.newest(Table::Key, bounds).transpose().into_iter())
        } else {
            reader.scan(Table::Key, bounds)
        };
        Self { reader, at, rows, end, prefix: Bytes::new(), decided: false, steps: 0 }
    }

    /// The next key, or `None` after the last.
    pub(crate) fn next(&mut self) -> Result<Option<Found>, EngineError> {
        while let Some(row) = self.rows.next() {
            let (row, record) = row?;
            let (prefix, revision) = rows::split_key_row(&row)?;
            if prefix != self.prefix {
                self.prefix = prefix;
                self.decided = false;
                self.steps = 0;
            }
            if !self.decided && revision.main <= self.at {
                self.decided = true;
                self.steps = 0;
                if !rows::is_deletion(&record)? {
                    return Ok(Some(Found { prefix: self.prefix.clone(), revision, record }));
                }
                continue;
            }
            self.steps += 1;
            if self.steps == STEPS_MAX {
                self.seek_past();
            }
        }
        Ok(None)
    }

    /// Seeks to the next row that matters: that of the revision that is read, or of the next key.
    fn seek_past(&mut self) {
        let from = if self.decided {
            rows::after_prefix(&self.prefix)
        } else {
            let newest = Revision { main: self.at, sub: Revision::SUB_MAX };
            rows::prefix_row(&self.prefix, newest)
        };
        self.rows = self.reader.scan(Table::Key, (Bound::Included(&from), as_slice(&self.end)));
    }
}

fn as_slice(bound: &Bound<Vec<u8>>) -> Bound<&[u8]> {
    bound.as_ref().map(Vec::as_slice)
}

/// Chooses, among the keys of a range, those that a request returns. Holds no more than about twice
/// its limit of them at any time.
struct Selection<'r> {
    request: &'r RangeRequest,
    order: SortOrder,
    /// The most keys to return; `usize::MAX` for all.
    limit: usize,
    /// Whether keys come in the order in which they are returned.
    sorted: bool,
    /// The most keys to look at.
    read_max: usize,
    looked_at: usize,
    matched: usize,
    kvs: Vec<KeyValue>,
    /// The room that they take.
    room: usize,
}

impl<'r> Selection<'r> {
    fn new(request: &'r RangeRequest) -> Self {
        let limit = match usize::try_from(request.limit) {
            Ok(0) | Err(_) => usize::MAX,
            Ok(limit) => limit,
        };
        let order = match (request.sort_order, request.sort_target) {
            (SortOrder::None, _) => SortOrder::Ascend,
            (order, _) => order,
        };
        let sorted = order == SortOrder::Ascend && request.sort_target == SortTarget::Key;
        // etcd looks at all keys before it sorts only if an order or a filter is given; with a mere
        // target it sorts the first `limit + 1` keys, for years now.
        let read_max = if request.sort_order == SortOrder::None && !is_filtered(request) {
            limit.saturating_add(1)
        } else {
            usize::MAX
        };
        let kvs = Vec::new();
        Self { request, order, limit, sorted, read_max, looked_at: 0, matched: 0, kvs, room: 0 }
    }

    /// Whether keys that follow can still change the answer.
    fn wants_more(&self) -> bool {
        let full = self.sorted && self.matched > self.limit;
        !full && self.looked_at < self.read_max
    }

    fn add(&mut self, mut kv: KeyValue) {
        self.looked_at += 1;
        if !passes(self.request, &kv) {
            return;
        }
        self.matched += 1;
        if self.sorted && self.matched > self.limit {
            return;
        }
        if self.request.keys_only && self.request.sort_target != SortTarget::Value {
            kv.value = Bytes::new();
        }
        self.room += kv.room();
        self.kvs.push(kv);
        if !self.sorted && self.kvs.len() >= self.limit.saturating_mul(2) {
            self.cut();
        }
    }

    /// Sorts and forgets what the limit cuts off in any case.
    fn cut(&mut self) {
        if !self.sorted {
            let (order, target) = (self.order, self.request.sort_target);
            self.kvs.sort_by(|a, b| compare(target, order, a, b));
        }
        if self.kvs.len() > self.limit {
            self.kvs.truncate(self.limit);
            self.room = self.kvs.iter().map(KeyValue::room).sum();
        }
    }

    fn finish(mut self) -> (Vec<KeyValue>, bool) {
        self.cut();
        if self.request.keys_only {
            self.kvs.iter_mut().for_each(|kv| kv.value = Bytes::new());
        }
        (self.kvs, self.matched > self.limit)
    }
}

fn is_filtered(request: &RangeRequest) -> bool {
    let RangeRequest {
        min_mod_revision,
        max_mod_revision,
        min_create_revision,
        max_create_revision,
        ..
    } = *request;
    [min_mod_revision, max_mod_revision, min_create_revision, max_create_revision] != [0; 4]
}

fn passes(request: &RangeRequest, kv: &KeyValue) -> bool {
    let within =
        |revision, min, max| (min == 0 || revision >= min) && (max == 0 || revision <= max);
    within(kv.mod_revision, request.min_mod_revision, request.max_mod_revision)
        && within(kv.create_revision, request.min_create_revision, request.max_create_revision)
}

/// Sorting is stable, so that ties stay in order of the key, in either direction.
fn compare(target: SortTarget, order: SortOrder, a: &KeyValue, b: &KeyValue) -> Ordering {
    let ascending = match target {
        SortTarget::Key => a.key.cmp(&b.key),
        SortTarget::Version => a.version.cmp(&b.version),
        SortTarget::Create => a.create_revision.cmp(&b.create_revision),
        SortTarget::Mod => a.mod_revision.cmp(&b.mod_revision),
        SortTarget::Value => a.value.cmp(&b.value),
    };
    if order == SortOrder::Descend { ascending.reverse() } else { ascending }
}
