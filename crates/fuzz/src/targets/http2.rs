//! Connections of clients that name the server.

use bytes::Bytes;
use quorate_server::fuzz::authority;

use crate::Draw;

/// What HTTP/2 begins with.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub(super) fn run(input: &[u8]) {
    let mut draw = Draw::new(input);
    let kind = draw.byte();
    let window = draw.short().into();
    let mut pieces = draw.pieces();
    if kind.is_multiple_of(2) {
        pieces.insert(0, Bytes::from_static(PREFACE));
    }
    if kind / 2 % 2 == 1 {
        // Each piece behind the preface is a block of headers.
        for piece in pieces.iter_mut().skip(1) {
            let [_, length @ ..] = (piece.len() as u32).to_be_bytes();
            let head = [&length[..], &[1, kind & 0x28, 0, 0, 0, 1]].concat();
            *piece = [&head[..], piece].concat().into();
        }
    }
    authority::connection(&pieces, window);
}
