use quorate_mvcc::{DeleteRangeRequest, KeyRange, PutRequest};

use super::*;
use crate::rpc::METHODS;

fn delete() -> DeleteRangeRequest {
    DeleteRangeRequest { range: KeyRange::Point("k".into()), prev_kv: false }
}

fn txn(op: RequestOp) -> TxnRequest {
    TxnRequest { success: vec![op], ..TxnRequest::default() }
}

#[test]
fn commands_have_their_lanes() {
    let put = || PutRequest { key: "k".into(), ..PutRequest::default() };
    let inner = |op| RequestOp::Txn(txn(op));
    for (command, lane) in [
        (Command::LeaseRevoke { id: 1 }, Lane::Urgent),
        (Command::LeaseExpire { id: 1, term: 1 }, Lane::Urgent),
        (Command::DeleteRange(delete()), Lane::Relief),
        (Command::Compact { revision: 1 }, Lane::Relief),
        (Command::Txn(txn(inner(RequestOp::DeleteRange(delete())))), Lane::Relief),
        (Command::Txn(txn(inner(RequestOp::Put(put())))), Lane::Ordinary),
        (Command::Put(put()), Lane::Ordinary),
        (Command::LeaseGrant { id: 1, ttl: 1 }, Lane::Ordinary),
    ] {
        assert_eq!(lane_of(&command), lane, "{command:?}");
    }
}

#[test]
fn calls_have_their_lanes() {
    let lane = |name| METHODS.iter().find(|method| method.name == name).expect(name).lane();
    for (lane_of_it, names) in [
        (Lane::Urgent, &["LeaseRevoke", "LeaseKeepAlive", "MemberAdd", "Status", "Check"][..]),
        (Lane::Relief, &["DeleteRange", "Compact", "Unlock", "Resign"]),
        (Lane::Ordinary, &["Put", "Txn", "Range", "LeaseGrant", "Lock", "Authenticate"]),
    ] {
        for name in names {
            assert_eq!(lane(name), lane_of_it, "{name}");
        }
    }
}

/// What an answer of so many bytes was read within, one attempt after the other; and what is held then.
async fn read(limit: usize, of_more: Lane, bytes: usize) -> (Vec<usize>, Result<usize, Failure>) {
    let memory = Memory::new(Some(limit));
    let held = Held::new(&memory, METHODS[0], false, None);
    let mut rooms = Vec::new();
    let answer = held.answer(of_more, |room| {
        rooms.push(room);
        assert!(memory.held() >= ANSWER_COPIES * room, "it is claimed before");
        if bytes <= room { Ok(((), bytes)) } else { Err(Failure::Refused(Error::AnswerTooLarge)) }
    });
    let answer = answer.await;
    (rooms, answer.map(|()| memory.held()))
}

#[tokio::test]
async fn an_answer_is_read_again_until_it_fits() {
    const KIB: usize = 1 << 10;
    let limit = 64 << 20;
    assert_eq!(read(limit, Lane::Bulk, 10).await, (vec![64 * KIB], Ok(20)));
    assert_eq!(read(limit, Lane::Bulk, 64 * KIB).await, (vec![64 * KIB], Ok(128 * KIB)));
    let much = read(limit, Lane::Bulk, 600 * KIB).await;
    assert_eq!(much, (vec![64 * KIB, 512 * KIB, 4096 * KIB], Ok(1200 * KIB)));
    let key = read(limit, Lane::Ordinary, 600 * KIB).await;
    assert_eq!(key, (vec![64 * KIB, 2048 * KIB], Ok(1200 * KIB)));
}

#[tokio::test]
async fn an_answer_that_never_fits_is_refused_at_the_edge() {
    // Half of it for much, a sixteenth of that for others, and two copies.
    let (limit, most) = (64 << 20, 15 << 20);
    assert_eq!(read(limit, Lane::Bulk, most).await.1, Ok(2 * most));
    let (rooms, refused) = read(limit, Lane::Bulk, most + 1).await;
    assert_eq!(rooms.last(), Some(&most));
    assert_eq!(refused, Err(Failure::Refused(Error::AnswerTooLarge)));
}
