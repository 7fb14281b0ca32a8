//! Requests of clients in protobuf.

use quorate_server::fuzz::rpc;

use crate::Draw;

pub(super) fn run(input: &[u8]) {
    let mut draw = Draw::new(input);
    rpc::request(draw.byte(), draw.rest());
}
