//! Histories for the tests: told as a few words each, or made by a store that does what it should.
#![allow(dead_code, reason = "every test uses a part of it")]

use bytes::Bytes;
use quorate_check::history::{Operation, Outcome, Request};
use quorate_check::model::Model;
use quorate_mvcc::{
    Compare, CompareOperand, CompareResult, DeleteRangeRequest, KeyRange, PutRequest, RangeRequest,
    RequestOp, TxnRequest,
};

pub(crate) fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

pub(crate) fn put(key: &str, value: &str) -> Request {
    Request::Put(PutRequest { key: bytes(key), value: bytes(value), ..PutRequest::default() })
}

pub(crate) fn get(key: &str) -> Request {
    Request::Range(RangeRequest::new(KeyRange::Point(bytes(key))))
}

pub(crate) fn list(prefix: &str) -> Request {
    Request::Range(RangeRequest::new(KeyRange::prefix(bytes(prefix))))
}

pub(crate) fn delete(key: &str) -> Request {
    Request::DeleteRange(DeleteRangeRequest { range: KeyRange::Point(bytes(key)), prev_kv: false })
}

/// Puts the key if its last change was at this revision, else reads it.
pub(crate) fn swap(key: &str, expected: i64, value: &str) -> Request {
    Request::Txn(TxnRequest {
        compare: vec![Compare {
            range: KeyRange::Point(bytes(key)),
            result: CompareResult::Equal,
            operand: CompareOperand::Mod(expected),
        }],
        success: vec![RequestOp::Put(PutRequest {
            key: bytes(key),
            value: bytes(value),
            ..PutRequest::default()
        })],
        failure: vec![RequestOp::Range(RangeRequest::new(KeyRange::Point(bytes(key))))],
    })
}

/// Puts both keys at once.
pub(crate) fn put_both(first: &str, second: &str, value: &str) -> Request {
    let put = |key| {
        RequestOp::Put(PutRequest { key: bytes(key), value: bytes(value), ..PutRequest::default() })
    };
    Request::Txn(TxnRequest { success: vec![put(first), put(second)], ..TxnRequest::default() })
}

/// A history in the making: operations get the replies of a store that carries them out in the order
/// in which they are told, whatever their times are.
#[derive(Default)]
pub(crate) struct Teller {
    pub(crate) store: Model,
    pub(crate) history: Vec<Operation>,
}

impl Teller {
    /// Carries out a request in turn.
    #[track_caller]
    pub(crate) fn ok(&mut self, call: u64, returned: u64, request: Request) -> &mut Operation {
        let (reply, _) = self.store.apply(&request);
        assert!(reply.is_ok(), "{request:?}: {reply:?}");
        self.note(call, request, Outcome::Known { returned, reply })
    }

    /// Carries out a request in turn, and nobody hears of it.
    pub(crate) fn unheard(&mut self, call: u64, request: Request) -> &mut Operation {
        let (_reply, _) = self.store.apply(&request);
        self.note(call, request, Outcome::Unknown)
    }

    /// A request that is lost, and nobody knows.
    pub(crate) fn lost(&mut self, call: u64, request: Request) -> &mut Operation {
        self.note(call, request, Outcome::Unknown)
    }

    /// A request that was answered as this state would.
    pub(crate) fn told_as_in(&mut self, state: &Model, call: u64, returned: u64, request: Request) {
        let (reply, _) = state.clone().apply(&request);
        self.note(call, request, Outcome::Known { returned, reply });
    }

    fn note(&mut self, call: u64, request: Request, outcome: Outcome) -> &mut Operation {
        let client = self.history.len() as u64;
        self.history.push(Operation { client, call, request, outcome });
        self.history.last_mut().expect("it was pushed")
    }
}

/// Chance from a seed (SplitMix64).
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}
