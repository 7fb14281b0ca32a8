//! Requests of clients in JSON.

use http::{HeaderMap, HeaderName, HeaderValue};
use quorate_server::fuzz::{gateway, login, rpc};

use crate::Draw;

pub(super) fn run(input: &[u8]) {
    let mut draw = Draw::new(input);
    match draw.byte() % 4 {
        0 => {
            let path = draw.text();
            gateway::request(&path, &draw.pieces());
        }
        1 => {
            let path = path(&mut draw);
            gateway::request(&path, &draw.pieces());
        }
        2 => {
            let path = path(&mut draw);
            gateway::answer(&path, draw.rest());
        }
        _ => {
            let headers = headers(draw);
            gateway::headers(&headers);
            rpc::metadata(&headers);
            login::credentials(&headers);
        }
    }
}

fn path(draw: &mut Draw<'_>) -> String {
    let mut paths = gateway::paths();
    let count = gateway::paths().count();
    paths.nth(usize::from(draw.byte()) % count).expect("one of them")
}

/// Lines, of which those that are no headers are none.
fn headers(draw: Draw<'_>) -> HeaderMap {
    const KNOWN: [&str; 8] = [
        "authorization",
        "token",
        "grpc-timeout",
        "hasleader",
        "grpc-metadata-token",
        "grpc-metadata-grpc-timeout",
        "quorate-max-staleness",
        "quorate-min-revision",
    ];
    let lines = draw.rest().split(|byte| *byte == b'\n').take(100);
    let header = |line: &[u8]| {
        let at = line.iter().position(|byte| *byte == b':')?;
        let (name, value) = (&line[..at], HeaderValue::from_bytes(&line[at + 1..]).ok()?);
        let name = match name {
            [number] => HeaderName::from_static(KNOWN[usize::from(*number) % KNOWN.len()]),
            name => HeaderName::from_bytes(name).ok()?,
        };
        Some((name, value))
    };
    lines.filter_map(header).collect()
}
