//! A backup on its way to a client: the file that `backup/image.rs` describes, in pieces, and its hash behind it.
//!
//! It is written on a thread of its own, as it reads the whole store: once to know how long it will be, and once to
//! send it. Nothing is kept of it but what is on its way, so it takes as long as the client wants, and ends with it.

use quorate_bolt::Layout;
use quorate_proto::etcdserverpb as pb;
use sha2::{Digest as _, Sha256};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tonic::Status;
use tonic::codegen::tokio_stream::wrappers::ReceiverStream;

use super::Failure;
use super::stream::Ending;
use crate::backup::{Image, ImageError};
use crate::log::Log;
use crate::version;

/// How large a piece is, as in etcd.
const PIECE_BYTES: usize = 32 << 10;

/// How many pieces are ready before the client takes them.
const PIECES_READY: usize = 4;

/// What one takes at most: pieces that are ready, on their way and being made, and the pages they are made of.
pub(super) const BYTES_MAX: usize = 16 * PIECE_BYTES;

type Piece = Result<pb::SnapshotResponse, Status>;

/// Begins to send one. `turn` is given back when it ends, and so is what the state holds.
pub(super) fn stream(
    image: Image,
    turn: OwnedSemaphorePermit,
    mut ending: Ending,
    log: Log,
) -> ReceiverStream<Piece> {
    let (made, mut ready) = mpsc::channel(PIECES_READY);
    let (pieces, receiver) = mpsc::channel(1);
    tokio::task::spawn_blocking(move || {
        let _turn = turn;
        if let Err(failure) = send(&image, &made, &log) {
            // A client that is gone needs no reason.
            let _ = made.blocking_send(Err(failure.into()));
        }
    });
    tokio::spawn(async move {
        let passed_on = async {
            while let Some(piece) = ready.recv().await {
                if pieces.send(piece).await.is_err() {
                    return;
                }
            }
        };
        let failure = tokio::select! {
            () = passed_on => return,
            () = pieces.closed() => return,
            failure = ending.reached() => failure,
        };
        // Whoever makes pieces finds that nobody takes them.
        drop(ready);
        let _ = pieces.send(Err(failure.into())).await;
    });
    ReceiverStream::new(receiver)
}

fn send(image: &Image, pieces: &mpsc::Sender<Piece>, log: &Log) -> Result<(), Failure> {
    let layout = image.write(Layout::default(), &mut |_| match pieces.is_closed() {
        true => Err(ImageError::Gone),
        false => Ok(()),
    });
    let failure = |error| failure(error, log);
    let layout = layout.map_err(failure)?;
    let mut out = Pieces {
        pieces,
        hash: Sha256::new(),
        ready: Vec::with_capacity(PIECE_BYTES),
        left: layout.bytes(),
    };
    let written = image.write(layout, &mut |page| out.add(page)).map_err(failure)?;
    assert_eq!(written, layout, "a state does not change");
    out.finish().map_err(failure)
}

fn failure(error: ImageError, log: &Log) -> Failure {
    match error {
        ImageError::Unreadable(error) => {
            log.error("can't read the store for a snapshot").with("error", error);
            Failure::Unreadable
        }
        ImageError::NameTooLong => Failure::Unsupported("a snapshot with names of 32 KiB"),
        ImageError::Gone => Failure::Stopped,
    }
}

/// What is on its way.
struct Pieces<'a> {
    pieces: &'a mpsc::Sender<Piece>,
    hash: Sha256,
    ready: Vec<u8>,
    /// How many bytes of the file are to come.
    left: u64,
}

impl Pieces<'_> {
    fn add(&mut self, mut bytes: &[u8]) -> Result<(), ImageError> {
        self.hash.update(bytes);
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(PIECE_BYTES - self.ready.len()));
            self.ready.extend_from_slice(now);
            bytes = later;
            if self.ready.len() == PIECE_BYTES {
                self.send()?;
            }
        }
        Ok(())
    }

    fn send(&mut self) -> Result<(), ImageError> {
        let blob = std::mem::replace(&mut self.ready, Vec::with_capacity(PIECE_BYTES));
        self.left = self.left.saturating_sub(blob.len() as u64);
        self.send_piece(blob)
    }

    fn send_piece(&self, blob: Vec<u8>) -> Result<(), ImageError> {
        // The header stays empty, as in etcd.
        let piece = pb::SnapshotResponse {
            header: None,
            remaining_bytes: self.left,
            blob: blob.into(),
            version: version::CLUSTER.to_owned(),
        };
        self.pieces.blocking_send(Ok(piece)).map_err(|_| ImageError::Gone)
    }

    fn finish(mut self) -> Result<(), ImageError> {
        if !self.ready.is_empty() {
            self.send()?;
        }
        assert_eq!(self.left, 0, "all pages are sent");
        let hash = std::mem::take(&mut self.hash).finalize().to_vec();
        self.send_piece(hash)
    }
}
