//! Whether a reply is the one that the model gives.

use quorate_mvcc::{RequestOp, ResponseOp, TxnRequest, TxnResponse};

use crate::history::{Reply, Request, Response};

/// Whether a client was told what the model answers. What it was told of a past revision is not
/// compared.
pub(crate) fn fits(request: &Request, told: &Reply, expected: &Reply) -> bool {
    match (request, told, expected) {
        (Request::Range(request), Ok(Response::Range(told)), Ok(Response::Range(expected)))
            if request.revision > 0 =>
        {
            told.revision == expected.revision
        }
        (Request::Txn(request), Ok(Response::Txn(told)), Ok(Response::Txn(expected))) => {
            txn_fits(request, told, expected)
        }
        _ => told == expected,
    }
}

fn txn_fits(request: &TxnRequest, told: &TxnResponse, expected: &TxnResponse) -> bool {
    let branch = if told.succeeded { &request.success } else { &request.failure };
    told.succeeded == expected.succeeded
        && told.revision == expected.revision
        && told.responses.len() == expected.responses.len()
        && branch.iter().zip(&told.responses).zip(&expected.responses).all(
            |((op, told), expected)| match (op, told, expected) {
                (RequestOp::Range(op), ResponseOp::Range(told), ResponseOp::Range(expected))
                    if op.revision > 0 =>
                {
                    told.revision == expected.revision
                }
                (RequestOp::Txn(op), ResponseOp::Txn(told), ResponseOp::Txn(expected)) => {
                    txn_fits(op, told, expected)
                }
                _ => told == expected,
            },
        )
}
