//! Reads.

use alloc::vec::Vec;
use core::cmp::Ordering;

use bytes::Bytes;
use quorate_mvcc::{Error, KeyValue, RangeRequest, RangeResponse, SortOrder, SortTarget};

use super::Model;

impl Model {
    pub(super) fn range(&self, request: &RangeRequest) -> Result<RangeResponse, Error> {
        if request.revision > self.revision {
            return Err(Error::FutureRevision);
        }
        if request.revision > 0 {
            if request.revision < self.compacted {
                return Err(Error::Compacted);
            }
            return Ok(RangeResponse { revision: self.revision, ..RangeResponse::default() });
        }
        Ok(answer(request, self.revision, self.keys_in(&request.range)))
    }
}

/// What a range answers if these keys are there, in order: filtered, then sorted, then cut off, as
/// etcd does it.
pub(crate) fn answer(
    request: &RangeRequest,
    revision: i64,
    mut found: Vec<KeyValue>,
) -> RangeResponse {
    let count = found.len() as u64;
    if request.count_only {
        return RangeResponse { revision, kvs: Vec::new(), more: false, count };
    }
    let limit = usize::try_from(request.limit).unwrap_or(usize::MAX);
    let bounds = [
        request.min_mod_revision,
        request.max_mod_revision,
        request.min_create_revision,
        request.max_create_revision,
    ];
    // etcd looks no further than one key beyond the limit unless it is asked for an order or a filter;
    // a target without an order sorts what it has then.
    if limit > 0 && request.sort_order == SortOrder::None && bounds == [0; 4] {
        found.truncate(limit.saturating_add(1));
    }
    let within = |number: i64, min: i64, max: i64| {
        (min == 0 || number >= min) && (max == 0 || number <= max)
    };
    let mut kvs: Vec<KeyValue> = found
        .into_iter()
        .filter(|kv| {
            within(kv.mod_revision, request.min_mod_revision, request.max_mod_revision)
                && within(
                    kv.create_revision,
                    request.min_create_revision,
                    request.max_create_revision,
                )
        })
        .collect();
    sort(&mut kvs, request.sort_order, request.sort_target);
    let more = limit > 0 && kvs.len() > limit;
    if more {
        kvs.truncate(limit);
    }
    if request.keys_only {
        for kv in &mut kvs {
            kv.value = Bytes::new();
        }
    }
    RangeResponse { revision, kvs, more, count }
}

/// Stable, so ties stay in order of the key.
fn sort(kvs: &mut [KeyValue], order: SortOrder, target: SortTarget) {
    let by = |a: &KeyValue, b: &KeyValue| match target {
        SortTarget::Key => a.key.cmp(&b.key),
        SortTarget::Version => a.version.cmp(&b.version),
        SortTarget::Create => a.create_revision.cmp(&b.create_revision),
        SortTarget::Mod => a.mod_revision.cmp(&b.mod_revision),
        SortTarget::Value => a.value.cmp(&b.value),
    };
    let directed = |ordering: Ordering| match order {
        SortOrder::Descend => ordering.reverse(),
        SortOrder::None | SortOrder::Ascend => ordering,
    };
    kvs.sort_by(|a, b| directed(by(a, b)));
}
