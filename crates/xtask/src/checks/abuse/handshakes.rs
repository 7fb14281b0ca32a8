//! Connections that come to nothing: slowly, without a word, or in great number.

use std::io;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::line::{self, PREFACE, connect};
use super::{HANDSHAKE, Stage};
use crate::checks::client::Client;

/// What may pass beyond the deadline on a machine that has much to do.
const SLACK: Duration = Duration::from_secs(15);

/// How often a slow one says a byte.
const DRIP: Duration = Duration::from_millis(200);

/// Connections that say a byte now and then: of a handshake of TLS, of a request, of HTTP/2's preface. Each is ended in
/// time. Those that never end a block of headers have begun, and may stay.
pub(super) async fn slow(stage: &Stage) -> io::Result<String> {
    let beginnings: [(&[u8], &[u8], bool); 5] = [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc", b"\x03", true),
        (b"", b"G", true),
        (b"GET /health HTTP/1.1\r\nx: ", b"x", true),
        (&PREFACE[..20], b"", true),
        // The head of a block of headers, of which the rest never comes.
        (PREFACE, b"\0\x40\0\x01\x04\0\0\0\x01", false),
    ];
    let mut slow = JoinSet::new();
    for port in stage.ports() {
        for (first, next, is_to_end) in beginnings {
            for _ in 0..20 * stage.scale {
                slow.spawn(drip(port, first, next, is_to_end));
            }
        }
    }
    let mut ended = 0;
    while let Some(joined) = slow.join_next().await {
        ended += usize::from(joined.map_err(io::Error::other)??);
    }
    Ok(format!("{ended} were ended in time"))
}

/// Whether the connection was ended.
async fn drip(
    port: u16,
    first: &'static [u8],
    next: &'static [u8],
    is_to_end: bool,
) -> io::Result<bool> {
    let start = Instant::now();
    let mut stream = connect(port).await?;
    if stream.write_all(first).await.is_err() {
        return Ok(true);
    }
    let mut at = 0;
    while start.elapsed() < HANDSHAKE + SLACK {
        if line::is_ended(&mut stream, DRIP).await {
            return Ok(true);
        }
        if let Some(byte) = next.get(at.min(next.len().saturating_sub(1)))
            && stream.write_all(&[*byte]).await.is_err()
        {
            return Ok(true);
        }
        at += 1;
        if !is_to_end && start.elapsed() > HANDSHAKE {
            return Ok(false);
        }
    }
    Err(line::late("to end a connection that says nothing of use"))
}

/// Very many connections that say nothing: of each hundred some stay as long as they may.
pub(super) async fn half_open(stage: &Stage) -> io::Result<String> {
    let attempts = 100_000 * stage.scale;
    let ports = stage.ports();
    let mut callers = JoinSet::new();
    const CALLERS: u64 = 64;
    for caller in 0..CALLERS {
        let ports = ports.clone();
        callers.spawn(async move {
            let mut kept: Vec<TcpStream> = Vec::new();
            let mut made = 0_u64;
            for number in 0..attempts / CALLERS {
                let port = ports[((caller + number) % ports.len() as u64) as usize];
                let Ok(stream) = connect(port).await else {
                    // The kernel's own row is full: there is no more to be had.
                    sleep(Duration::from_millis(1)).await;
                    continue;
                };
                made += 1;
                // An end in order would keep the port busy for a minute.
                let _ = stream.set_zero_linger();
                if number.is_multiple_of(16) {
                    kept.push(stream);
                }
                if kept.len() >= 100 {
                    kept.drain(..50);
                }
            }
            made
        });
    }
    let mut made = 0;
    while let Some(joined) = callers.join_next().await {
        made += joined.map_err(io::Error::other)?;
    }
    if made < attempts / 2 {
        return Err(io::Error::other(format!("only {made} of {attempts} could be made")));
    }
    Ok(format!("{made} of {attempts} were made"))
}

/// Waits until a member greets somebody who comes from here.
async fn wait_for_room(port: u16) -> io::Result<()> {
    let start = Instant::now();
    while start.elapsed() < line::PATIENCE {
        let mut stream = connect(port).await?;
        let mut greeting = [0; 9];
        if stream.write_all(PREFACE).await.is_ok() && stream.read_exact(&mut greeting).await.is_ok()
        {
            return Ok(());
        }
        sleep(DRIP).await;
    }
    Err(line::late("to have room again"))
}

/// More connections than a member has files, all of which have begun and say no more, while the store needs new files.
pub(super) async fn idle(stage: &Stage) -> io::Result<String> {
    let (mut open, mut refused) = (Vec::new(), 0);
    for port in stage.ports() {
        for _ in 0..1500 {
            let Ok(mut stream) = connect(port).await else {
                refused += 1;
                continue;
            };
            if stream.write_all(PREFACE).await.is_err() {
                refused += 1;
                continue;
            }
            open.push(stream);
        }
    }
    let client = Client::new(&stage.cluster.endpoint(0), line::PATIENCE);
    let large = vec![b'x'; 1 << 20];
    for number in 0..100 * stage.scale {
        let put = client.put(format!("large/{}", number % 50), large.clone());
        put.await.map_err(|status| io::Error::other(format!("a large value: {status}")))?;
    }
    let mut stay = 0;
    let mut scratch = [0; 1 << 10];
    for stream in &open {
        stay += loop {
            match stream.try_read(&mut scratch) {
                Ok(1..) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break 1,
                _ => break 0,
            }
        };
    }
    if stay == 0 || stay >= stage.cluster.len() * 1024 {
        return Err(io::Error::other(format!("{stay} idle connections stay")));
    }
    client.delete_prefix("large/").await.map_err(io::Error::other)?;
    let all = open.len() + refused;
    drop(open);
    for port in stage.ports() {
        wait_for_room(port).await?;
    }
    Ok(format!("{stay} stay of {all}, and the log went on"))
}
