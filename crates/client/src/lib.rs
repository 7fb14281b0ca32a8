//! What a client of the etcd v3 API needs and has to get right by itself otherwise, on top of the generated clients of
//! [`quorate_proto`].
//!
//! [`update`] changes one key by *optimistic concurrency*: it reads the key, lets the caller decide, and writes in a
//! transaction that compares the key's mod revision with the one that was read. Whoever comes second is refused, sees
//! what is there now, waits a little and decides anew. Nobody holds a lock, so nobody can keep it for too long.
//!
//! ```no_run
//! use quorate_client::{Change, Retries, update};
//! use quorate_proto::etcdserverpb::kv_client::KvClient;
//!
//! # async fn count() -> Result<(), Box<dyn std::error::Error>> {
//! let mut kv = KvClient::connect("http://127.0.0.1:2379").await?;
//! let counted = update(&mut kv, "visits", Retries::default(), |current| {
//!     let count: u64 = current
//!         .and_then(|kv| std::str::from_utf8(&kv.value).ok())
//!         .and_then(|text| text.parse().ok())
//!         .unwrap_or(0);
//!     Change::Put((count + 1).to_string().into())
//! })
//! .await?;
//! println!("written at revision {}", counted.revision);
//! # Ok(())
//! # }
//! ```
//!
//! What is not here: a choice among members, and a second attempt where no answer came. [`UpdateError::Unanswered`]
//! says why.

mod error;
mod retries;
mod update;

pub use error::UpdateError;
pub use retries::Retries;
pub use update::{Change, Updated, update};
