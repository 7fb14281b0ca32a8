//! What is said between members.

use quorate_host::fuzz::{self, Call, Link};
use quorate_raft::{Membership, NodeId};

use crate::Draw;

pub(super) fn run(input: &[u8]) {
    let mut draw = Draw::new(input);
    match draw.byte() % 9 {
        0 => fuzz::frames(&draw.pieces(), |_| {}),
        1 => fuzz::body(draw.rest(), NodeId(2), |_| {}),
        kind @ (2 | 3) => fuzz::greeting(draw.rest(), kind == 2),
        4 => {
            let (in_call, in_answer) = (changes(&mut draw), changes(&mut draw));
            let answer = draw.bytes();
            let (in_call, in_answer) = (&in_call[..], &in_answer[..]);
            fuzz::call(Call { call: draw.rest(), answer, in_call, in_answer });
        }
        5 => {
            let changes = changes(&mut draw);
            let (step, window) = (draw.short().into(), draw.short().into());
            let behind = draw.bytes();
            fuzz::link(Link { said: &draw.pieces(), changes: &changes, behind, step, window });
        }
        6 => fuzz::step(draw.rest()),
        7 => fuzz::secrets(draw.rest()),
        _ => {
            let bytes = draw.rest();
            if let Some(membership) = Membership::decode(bytes) {
                assert_eq!(membership.encode(), bytes, "{membership:?}");
                assert_eq!(membership.encoded_bytes(), bytes.len());
            }
        }
    }
}

fn changes(draw: &mut Draw<'_>) -> Vec<(usize, u8)> {
    let count = draw.byte() % 4;
    (0..count).map(|_| (draw.short().into(), draw.byte())).collect()
}
