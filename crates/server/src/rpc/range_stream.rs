//! A range that is sent in pieces, so that neither side holds all of it: Kubernetes lists with it.
//!
//! All pieces are of one revision. Each is read when the one before is on its way, from the state of then: so a client
//! that is slow keeps nothing alive, and is told if a compaction takes from it what it has not read.

use std::sync::Arc;

use quorate_mvcc::{KeyRange, Page, RangeRequest, SortOrder, SortTarget};
use quorate_proto::etcdserverpb as pb;
use tokio::sync::mpsc;
use tonic::Status;

use super::{Failure, convert};
use crate::admission::Held;
use crate::login::Session;
use crate::member::{Member, State};

/// How many keys the first piece has at most. As etcd's, pieces are twice as long as long as they stay small.
const FIRST_KEYS: usize = 10;

/// How many bytes it has at most, and the next twice as many if that was too little.
const FIRST_BYTES: usize = 64 << 10;

/// How many pieces there are at once: one that is sent, one that waits, and one that is made.
const PIECES_HELD: usize = 3;

/// A range on its way.
pub(super) struct RangeInPieces {
    member: Arc<Member>,
    session: Session,
    held: Held,
    request: RangeRequest,
    /// The store's when it began.
    revision: i64,
}

impl RangeInPieces {
    /// Refuses what can't be sent in pieces, and takes the revision of all of them.
    pub(super) async fn new(
        member: Arc<Member>,
        session: Session,
        held: Held,
        mut request: RangeRequest,
    ) -> Result<Self, Failure> {
        let is_sorted =
            request.sort_order != SortOrder::Descend && request.sort_target == SortTarget::Key;
        if !is_sorted {
            return Err(Failure::NoOrderInPieces);
        }
        let bounds = [
            request.min_mod_revision,
            request.max_mod_revision,
            request.min_create_revision,
            request.max_create_revision,
        ];
        if bounds != [0; 4] {
            return Err(Failure::NoFilterInPieces);
        }
        let state = member.state_for(request.serializable).await?;
        let revision = state.0.revision();
        if request.revision <= 0 {
            request.revision = revision;
        }
        Ok(Self { member, session, held, request, revision })
    }

    /// Sends all pieces, or as many as somebody takes.
    pub(super) async fn send(
        &self,
        pieces: &mpsc::Sender<Result<pb::RangeStreamResponse, Status>>,
    ) -> Result<(), Failure> {
        let limit = match usize::try_from(self.request.limit) {
            Ok(0) | Err(_) => usize::MAX,
            Ok(limit) => limit,
        };
        let (mut keys_max, mut sent) = (FIRST_KEYS, 0);
        let bytes_most = self.member.limits.request_bytes_max.saturating_mul(2);
        let bytes_most = bytes_most.min(self.held.most_for_piece() / PIECES_HELD);
        // As large as the last two pieces together were, at least, for as long as the stream takes.
        let mut memory = self.held.claim_piece(PIECES_HELD * FIRST_BYTES.min(bytes_most)).await?;
        let mut bytes_max = FIRST_BYTES.min(bytes_most);
        let mut rest = Some(self.request.range.clone());
        while let Some(range) = rest {
            let state = self.state()?;
            if self.request.count_only {
                let piece = self.last(&state, Vec::new(), 0, Some(range))?;
                let _ = pieces.send(Ok(piece)).await;
                return Ok(());
            }
            let page = self.page(&state, &range, keys_max.min(limit - sent), bytes_max)?;
            if page.bytes >= bytes_max && bytes_max < bytes_most {
                bytes_max = bytes_max.saturating_mul(2).min(bytes_most);
                // What it had goes first, so that nobody waits for who waits for it.
                drop(memory);
                memory = self.held.claim_piece(PIECES_HELD * bytes_max).await?;
            }
            sent += page.kvs.len();
            keys_max = next_length(keys_max, page.bytes, self.member.limits.request_bytes_max);
            rest = page.rest;
            let kvs = page.kvs.into_iter().map(convert::key_value).collect();
            let piece = if sent == limit || rest.is_none() {
                self.last(&state, kvs, sent, rest.take())?
            } else {
                let response = pb::RangeResponse { kvs, ..Default::default() };
                pb::RangeStreamResponse { range_response: Some(response) }
            };
            if pieces.send(Ok(piece)).await.is_err() {
                return Ok(());
            }
        }
        self.held.keep(memory);
        Ok(())
    }

    /// The newest state, if the client may read the range in it.
    fn state(&self) -> Result<State, Failure> {
        let state = self.member.state();
        let caller = self.session.caller(state.0.auth())?;
        state.rights(&caller)?.range(&self.request)?;
        Ok(state)
    }

    fn page(
        &self,
        state: &State,
        range: &KeyRange,
        keys_max: usize,
        bytes_max: usize,
    ) -> Result<Page, Failure> {
        let at = self.request.revision;
        let mut page = state.read_much(|state| state.page(range, at, keys_max, bytes_max))?;
        if self.request.keys_only {
            page.kvs.iter_mut().for_each(|kv| kv.value.clear());
        }
        Ok(page)
    }

    /// The last piece, which says how many there are besides.
    fn last(
        &self,
        state: &State,
        kvs: Vec<quorate_proto::mvccpb::KeyValue>,
        sent: usize,
        rest: Option<KeyRange>,
    ) -> Result<pb::RangeStreamResponse, Failure> {
        let left = match rest {
            None => 0,
            Some(rest) => {
                let revision = self.request.revision;
                let count = RangeRequest { count_only: true, revision, ..RangeRequest::new(rest) };
                state.read_much(|state| state.range(&count))?.count
            }
        };
        let count = i64::try_from(left + sent as u64).expect("keys can be counted");
        let more = left > 0 && !self.request.count_only;
        let header = self.member.header(self.revision);
        let response = pb::RangeResponse { header, kvs, more, count };
        Ok(pb::RangeStreamResponse { range_response: Some(response) })
    }
}

/// How many keys the next piece has at most, after one of so many bytes.
fn next_length(keys: usize, bytes: usize, request_bytes_max: usize) -> usize {
    if bytes < request_bytes_max / 2 {
        keys.saturating_mul(2)
    } else if bytes / 2 > request_bytes_max {
        (keys / 2).max(1)
    } else {
        keys
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_grow_while_they_are_small_and_shrink_when_they_are_large() {
        assert_eq!(next_length(10, 499, 1000), 20);
        assert_eq!(next_length(10, 500, 1000), 10);
        assert_eq!(next_length(10, 2001, 1000), 10);
        assert_eq!(next_length(10, 2002, 1000), 5);
        assert_eq!(next_length(1, usize::MAX, 1000), 1);
        assert_eq!(next_length(usize::MAX, 0, 1000), usize::MAX);
    }
}
