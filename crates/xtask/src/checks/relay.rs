//! What stands between a member and the others: a process that passes on what they send to it, and, if
//! it is told to, so much later. The kernels on which these checks run have no queue that could.
//!
//! It is a process so that it can be on the member's host, where the packets that arrive still have the
//! address of the one who sent them. It ends with whoever started it.

use std::io::{self, BufRead as _, Write as _};
use std::process::{Child, ChildStdin, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use std::{env, process, thread};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::checks::lan;

/// What is read at once.
const PIECE: usize = 16 << 10;

/// How many pieces may be under way in one direction.
const PIECES: usize = 256;

/// A relay, as long as this lives.
#[derive(Debug)]
pub(crate) struct Relay {
    process: Child,
    orders: ChildStdin,
}

impl Relay {
    /// Starts one on a host, which listens at an address and passes on to another.
    ///
    /// # Errors
    /// If the process can't be started.
    pub(crate) fn start(host: Option<usize>, from: &str, to: &str) -> io::Result<Self> {
        let mut process = lan::command(host, env::current_exe()?.as_os_str())
            .args(["relay", from, to])
            .stdin(Stdio::piped())
            .spawn()?;
        let orders = process.stdin.take().expect("it has one");
        Ok(Self { process, orders })
    }

    /// From now on it passes on so much later.
    ///
    /// # Errors
    /// If the process has ended.
    pub(crate) fn delay(&mut self, delay: Duration) -> io::Result<()> {
        writeln!(self.orders, "{}", delay.as_millis())
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The process: takes its addresses from the command line, and delays, in milliseconds, from standard
/// input, until that ends.
pub(crate) fn run() -> io::Result<()> {
    let addresses: Vec<String> = env::args().skip(2).collect();
    let [from, to] = addresses.as_slice() else {
        return Err(io::Error::other("usage: cargo xtask relay FROM TO"));
    };
    let delay = Arc::new(AtomicU64::new(0));
    let told = delay.clone();
    thread::spawn(move || {
        for line in io::stdin().lock().lines().map_while(Result::ok) {
            match line.parse() {
                Ok(milliseconds) => told.store(milliseconds, Ordering::Relaxed),
                Err(_) => eprintln!("relay: {line:?} is no number of milliseconds"),
            }
        }
        process::exit(0);
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(accept(from, to.clone(), delay))
}

async fn accept(from: &str, to: String, delay: Arc<AtomicU64>) -> io::Result<()> {
    let listener = TcpListener::bind(from).await?;
    loop {
        // One that is gone before it was taken is none.
        let Ok((theirs, _)) = listener.accept().await else { continue };
        let (to, delay) = (to.clone(), delay.clone());
        tokio::spawn(async move {
            // Where nobody listens, theirs is closed, which says as much.
            let Ok(ours) = TcpStream::connect(to).await else { return };
            for stream in [&theirs, &ours] {
                let _ = stream.set_nodelay(true);
            }
            let (their_read, their_write) = theirs.into_split();
            let (our_read, our_write) = ours.into_split();
            // Both directions end when one does.
            tokio::select! {
                () = pass(their_read, our_write, &delay) => {}
                () = pass(our_read, their_write, &delay) => {}
            }
        });
    }
}

/// Passes on until one of the two ends. What was read first is written first, also when the delay has
/// become shorter in between.
async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    delay: &AtomicU64,
) {
    let (sender, mut receiver) = mpsc::channel::<(Instant, Vec<u8>)>(PIECES);
    let read = async move {
        let mut piece = vec![0; PIECE];
        while let Ok(length @ 1..) = from.read(&mut piece).await {
            let due = Instant::now() + Duration::from_millis(delay.load(Ordering::Relaxed));
            if sender.send((due, piece[..length].to_vec())).await.is_err() {
                break;
            }
        }
    };
    let write = async move {
        while let Some((due, piece)) = receiver.recv().await {
            tokio::time::sleep_until(due).await;
            if to.write_all(&piece).await.is_err() {
                break;
            }
        }
    };
    tokio::join!(read, write);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_held_back_comes_late_and_in_order() {
        let (mut sender, from) = tokio::io::duplex(64);
        let (to, mut receiver) = tokio::io::duplex(64);
        let delay = Arc::new(AtomicU64::new(100));
        let start = Instant::now();
        let passing = {
            let delay = delay.clone();
            tokio::spawn(async move { pass(from, to, &delay).await })
        };
        sender.write_all(b"a").await.expect("it takes bytes");
        tokio::time::sleep(Duration::from_millis(20)).await;
        delay.store(0, Ordering::Relaxed);
        sender.write_all(b"b").await.expect("it takes bytes");
        let mut two = [0; 2];
        receiver.read_exact(&mut two).await.expect("it passes them on");
        assert_eq!(&two, b"ab");
        assert!(start.elapsed() >= Duration::from_millis(100), "{:?}", start.elapsed());
        drop(sender);
        passing.await.expect("it ends with the sender");
    }
}
