//! A client that puts, deletes, compares and reads, and one that compacts.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use quorate_check::history::{Request, Response};
use quorate_mvcc::{
    Compare, CompareOperand, CompareResult, DeleteRangeRequest, KeyRange, PutRequest, RangeRequest,
    RequestOp, TxnRequest,
};

use crate::checks::blackbox::recorder::Recorder;
use crate::checks::client::{Client, Roster};
use crate::checks::dice::Dice;

/// So few keys that clients meet on them.
const KEYS: u64 = 8;

/// Who writes last, in the history, and how often it tries.
const LAST: u64 = 2000;
const LAST_TRIES: usize = 20;

/// Who compacts, in the history; what it leaves of what is known, in revisions, at most; and how long it
/// waits each time, in milliseconds.
const COMPACTOR: u64 = 3000;
const LEFT: u64 = 100;
const BETWEEN: u64 = 1_500;

/// What all of them begin with.
const PREFIX: &str = "k/";

/// Puts a key that nobody else does, when all others are done. Returns the revision.
pub(crate) async fn write_last(members: &[Client], recorder: &Recorder) -> io::Result<i64> {
    for client in members.iter().cycle().take(LAST_TRIES) {
        let put = PutRequest { key: Bytes::from_static(b"last"), ..PutRequest::default() };
        if let Some(Response::Put(put)) = recorder.ask(LAST, client, Request::Put(put)).await {
            return Ok(put.revision);
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    Err(io::Error::other("all is well, and nobody writes"))
}

/// Compacts the history now and then until it is over: up to some revision, of which somebody was told, so
/// that what is gone is known. One that is compacted already has to be refused.
pub(crate) async fn compact(members: Roster, recorder: Arc<Recorder>, mut dice: Dice) {
    while !recorder.is_over() {
        tokio::time::sleep(Duration::from_millis(dice.roll(BETWEEN))).await;
        let client = members.pick(dice.roll(u64::MAX));
        let revision = recorder.known() - dice.roll(LEFT) as i64;
        if revision > 0 {
            recorder.ask(COMPACTOR, &client, Request::Compact { revision }).await;
        }
    }
}

/// Asks until it is over, another member after each failure.
pub(crate) async fn run(who: u64, members: Roster, recorder: Arc<Recorder>, mut dice: Dice) {
    let mut at = who;
    // The revision of each key as this client saw it last.
    let mut seen = [0; KEYS as usize];
    while !recorder.is_over() {
        let number = dice.roll(KEYS);
        let key = Bytes::from(format!("{PREFIX}{number}"));
        let one = || KeyRange::Point(key.clone());
        let value = Bytes::from(format!("{who}:{}", recorder.unique()));
        let put = PutRequest {
            key: key.clone(),
            value,
            prev_kv: dice.roll(2) == 0,
            ..PutRequest::default()
        };
        let request = match dice.roll(10) {
            0..3 => Request::Put(put),
            3 => Request::DeleteRange(DeleteRangeRequest { range: one(), prev_kv: true }),
            4..6 => Request::Txn(TxnRequest {
                compare: vec![Compare {
                    range: one(),
                    result: CompareResult::Equal,
                    operand: CompareOperand::Mod(seen[number as usize]),
                }],
                success: vec![RequestOp::Put(put)],
                failure: vec![RequestOp::Range(RangeRequest::new(one()))],
            }),
            6..8 => Request::Range(RangeRequest::new(one())),
            8 => Request::Range(RangeRequest::new(KeyRange::prefix(Bytes::from_static(
                PREFIX.as_bytes(),
            )))),
            _ => {
                let range = RangeRequest::new(one());
                Request::Range(RangeRequest { serializable: true, ..range })
            }
        };
        match recorder.ask(who, &members.pick(at), request).await {
            Some(Response::Range(range)) if range.kvs.len() == 1 && range.kvs[0].key == key => {
                seen[number as usize] = range.kvs[0].mod_revision;
            }
            Some(Response::Put(put)) => seen[number as usize] = put.revision,
            Some(_) => {}
            None => at += 1,
        }
        tokio::time::sleep(Duration::from_millis(5 + dice.roll(30))).await;
    }
}
