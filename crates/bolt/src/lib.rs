//! The file in which etcd keeps everything, and that its backups are: bbolt's format, version 2.
//!
//! **What such a file is.** Pages of one size, numbered from 0. Pages 0 and 1 are *metas*: each says where the tree
//! of the top-level buckets begins, and how many pages there are; the newer valid one counts. All else is B+ trees:
//! *branch* pages that lead to others by their first keys, and *leaf* pages with keys and values. A value may be a
//! *bucket*: the number of the page in which its own tree begins, or, if it is small, that page itself. What is larger
//! than a page goes on in the pages behind it. All numbers are little-endian.
//!
//! ```text
//! page    = number (8) · kind (2) · count (2) · pages behind it (4) · elements · keys and values
//! leaf    = flags (4: 1 for a bucket) · position (4) · length of the key (4) · of the value (4)
//! branch  = position (4) · length of the key (4) · page (8)
//! bucket  = page (8), 0 if it follows · sequence (8) [· page]
//! meta    = magic (4) · version (4) · page size (4) · flags (4) · root bucket (16) · freelist (8) · pages (8)
//!           · transaction (8) · FNV-1a of all that (8)
//! ```
//!
//! **Reading** ([`Bolt`]) trusts nothing: such a file may come from anybody. Lengths and positions are checked before
//! they are followed, a tree that leads back into itself or is out of order is an error, and what is read at once is
//! bounded. **Writing** ([`Writer`]) makes a new file out of sorted keys and values, from its beginning to its end,
//! with one page of each level of a tree in memory. How large it will be is known from a first pass that throws the
//! pages away.
//!
//! **What is not here.** No transactions, no changes in place, no locks and no files: whoever has a file gives
//! [`ReadAt`]. What the buckets mean is not known here either.
#![no_std]

extern crate alloc;

mod format;
mod read;
#[cfg(test)]
mod tests;
mod write;

pub use read::{Bolt, Bucket, Error, Item, Items, PAGE_BYTES_MAX, ReadAt};
pub use write::{KEY_BYTES_MAX, Layout, PAGE_SIZE, VALUE_BYTES_MAX, Writer};
