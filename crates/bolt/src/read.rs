//! Reads a file that may come from anybody.

use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

use crate::format::{
    BRANCH, BUCKET, ELEMENT, HEADER, Header, IS_BUCKET, LEAF, META_BYTES, Meta, u32_at, u64_at,
};

/// The most bytes of one page with those behind it: more than any request of etcd makes of it.
pub const PAGE_BYTES_MAX: u64 = 256 << 20;

/// The deepest tree that is followed. One of as many levels has more keys than there are atoms, if each of its pages
/// has two elements.
const DEPTH_MAX: usize = 64;

/// Bytes of which any part can be read.
pub trait ReadAt {
    /// How many there are.
    fn size(&self) -> u64;

    /// Reads those from `offset` on, which are all within the size.
    ///
    /// # Errors
    /// What went wrong, in words.
    fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<(), String>;
}

impl ReadAt for [u8] {
    fn size(&self) -> u64 {
        self.len() as u64
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<(), String> {
        let from = usize::try_from(offset).ok().and_then(|at| self.get(at..)?.get(..into.len()));
        into.copy_from_slice(from.ok_or("behind the end")?);
        Ok(())
    }
}

/// Why a file can't be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// It is no such file, or not as it was written.
    Damaged(String),
    /// The disk refused.
    Read(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Damaged(what) => write!(f, "it is no whole bbolt file: {what}"),
            Self::Read(what) => write!(f, "it can't be read: {what}"),
        }
    }
}

impl core::error::Error for Error {}

fn damaged(what: impl Into<String>) -> Error {
    Error::Damaged(what.into())
}

/// A file, as its last complete transaction left it.
#[derive(Debug)]
pub struct Bolt<'a, R: ?Sized> {
    bytes: &'a R,
    meta: Meta,
}

impl<'a, R: ReadAt + ?Sized> Bolt<'a, R> {
    /// Looks at the metas.
    ///
    /// # Errors
    /// If neither is sound, the file is shorter than it says, or the disk refuses.
    pub fn open(bytes: &'a R) -> Result<Self, Error> {
        let meta_at = |at: u64| {
            let mut page = [0; HEADER + META_BYTES];
            let is_there = at.checked_add(page.len() as u64).is_some_and(|end| end <= bytes.size());
            if !is_there {
                return Ok(None);
            }
            bytes.read_at(at, &mut page).map_err(Error::Read)?;
            Ok(Meta::parse(&page))
        };
        let first = meta_at(0)?;
        let second = match first {
            Some(first) => meta_at(u64::from(first.page_size))?,
            // Where the second is, only the first would tell. It says so itself, though.
            None => {
                let mut found = None;
                for shift in 9..=24 {
                    let at = 1_u64 << shift;
                    found = meta_at(at)?.filter(|meta| u64::from(meta.page_size) == at);
                    if found.is_some() {
                        break;
                    }
                }
                found
            }
        };
        let both = [first, second].into_iter().flatten();
        let meta = both.max_by_key(|meta| meta.transaction);
        let meta = meta.ok_or_else(|| damaged("no page says where it begins"))?;
        let size = meta.pages.checked_mul(u64::from(meta.page_size));
        match size {
            Some(size) if size <= bytes.size() => Ok(Self { bytes, meta }),
            _ => Err(damaged(format!(
                "it says that it has {} pages of {} bytes, and is {} bytes long",
                meta.pages,
                meta.page_size,
                bytes.size()
            ))),
        }
    }

    /// The size of all pages that may be in use, in bytes. What lies behind belongs to nobody.
    #[must_use]
    pub fn used_bytes(&self) -> u64 {
        self.meta.pages * u64::from(self.meta.page_size)
    }

    /// The top-level buckets, in order.
    ///
    /// # Errors
    /// If the tree can't be begun.
    pub fn buckets(&self) -> Result<Items<'_, 'a, R>, Error> {
        self.items(&Bucket { root: Root::Page(self.meta.root) })
    }

    /// A top-level bucket, if there is one of this name.
    ///
    /// # Errors
    /// If the tree of buckets is damaged, or this is none.
    pub fn bucket(&self, name: &[u8]) -> Result<Option<Bucket>, Error> {
        let mut buckets = self.buckets()?;
        while let Some(item) = buckets.next()? {
            if item.key == name {
                return item.bucket().map(Some);
            }
        }
        Ok(None)
    }

    /// What is in a bucket of this file, in order.
    ///
    /// # Errors
    /// If its tree can't be begun.
    pub fn items(&self, bucket: &Bucket) -> Result<Items<'_, 'a, R>, Error> {
        let root = match &bucket.root {
            Root::Page(id) => self.page(*id)?,
            Root::Inline(bytes) => Page::parse(bytes.clone(), 0, "in a bucket")?,
        };
        let path = vec![(root, 0)];
        Ok(Items { bolt: self, path, pages_left: self.meta.pages, last: None })
    }

    /// A page with those that belong to it.
    fn page(&self, id: u64) -> Result<Page, Error> {
        let place = || format!("page {id}");
        if !(2..self.meta.pages).contains(&id) {
            return Err(damaged(format!("{} is not there", place())));
        }
        let page_size = self.meta.page_size as usize;
        let mut bytes = vec![0; page_size];
        let offset = id * page_size as u64;
        self.bytes.read_at(offset, &mut bytes).map_err(Error::Read)?;
        let header = Header::parse(&bytes).expect("a page is longer than its header");
        let overflow = u64::from(header.overflow);
        let length = (overflow + 1) * page_size as u64;
        if header.id != id || id + overflow >= self.meta.pages || length > PAGE_BYTES_MAX {
            return Err(damaged(format!("{} has another header", place())));
        }
        if overflow > 0 {
            bytes.resize(length as usize, 0);
            let behind = offset + page_size as u64;
            self.bytes.read_at(behind, &mut bytes[page_size..]).map_err(Error::Read)?;
        }
        Page::parse(bytes, id, &place())
    }
}

/// Where the keys of a bucket begin.
#[derive(Clone, Debug)]
pub struct Bucket {
    root: Root,
}

#[derive(Clone, Debug)]
enum Root {
    Page(u64),
    Inline(Vec<u8>),
}

/// A key of a bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// The key.
    pub key: Vec<u8>,
    /// The value, or what says where the bucket is.
    pub value: Vec<u8>,
    /// Whether it is a bucket.
    pub is_bucket: bool,
}

impl Item {
    /// The bucket that it is.
    ///
    /// # Errors
    /// If it is none.
    pub fn bucket(&self) -> Result<Bucket, Error> {
        let root = u64_at(&self.value, 0).filter(|_| self.is_bucket);
        let root = match (root, self.value.get(BUCKET..)) {
            (Some(0), Some(page)) => Root::Inline(page.to_vec()),
            (Some(id), Some(_)) if id != 0 => Root::Page(id),
            _ => {
                let name = self.key[..self.key.len().min(64)].escape_ascii();
                return Err(damaged(format!("{name} is no bucket")));
            }
        };
        Ok(Bucket { root })
    }
}

/// A leaf or a branch, whose elements lie within it.
#[derive(Debug)]
struct Page {
    bytes: Vec<u8>,
    is_leaf: bool,
    count: usize,
    /// For what is said about it.
    id: u64,
}

impl Page {
    fn parse(bytes: Vec<u8>, id: u64, place: &str) -> Result<Self, Error> {
        let header = Header::parse(&bytes);
        let header = header.ok_or_else(|| damaged(format!("a page {place} is too short")))?;
        let is_leaf = match header.kind {
            LEAF => true,
            BRANCH => false,
            kind => return Err(damaged(format!("{place} is of kind {kind:#x}"))),
        };
        let count = usize::from(header.count);
        if bytes.len() < HEADER + count * ELEMENT || (!is_leaf && count == 0) {
            return Err(damaged(format!("{place} can't have {count} elements")));
        }
        Ok(Self { bytes, is_leaf, count, id })
    }

    /// Where an element lies, which is one of the page.
    fn at(&self, index: usize) -> usize {
        assert!(index < self.count, "an element of the page");
        HEADER + index * ELEMENT
    }

    fn number(&self, at: usize) -> usize {
        u32_at(&self.bytes, at).expect("elements lie within their page") as usize
    }

    /// So many bytes at a place that an element at `element` counts from itself.
    fn slice(&self, element: usize, position: usize, length: usize) -> Result<&[u8], Error> {
        let from = element.checked_add(position);
        let slice = from.and_then(|from| self.bytes.get(from..from.checked_add(length)?));
        slice.ok_or_else(|| damaged(format!("something in page {} lies outside of it", self.id)))
    }

    /// The page to which an element of a branch leads.
    fn child(&self, index: usize) -> u64 {
        u64_at(&self.bytes, self.at(index) + 8).expect("elements lie within their page")
    }

    /// An element of a leaf.
    fn item(&self, index: usize) -> Result<Item, Error> {
        let at = self.at(index);
        let flags = self.number(at);
        let (position, key, value) =
            (self.number(at + 4), self.number(at + 8), self.number(at + 12));
        let key = self.slice(at, position, key)?;
        let value = self.slice(at, position.saturating_add(key.len()), value)?;
        let is_bucket = flags as u32 & IS_BUCKET != 0;
        Ok(Item { key: key.to_vec(), value: value.to_vec(), is_bucket })
    }
}

/// What is in a bucket, in order.
#[derive(Debug)]
pub struct Items<'b, 'a, R: ?Sized> {
    bolt: &'b Bolt<'a, R>,
    /// The pages on the way to the next one, each with its next element.
    path: Vec<(Page, usize)>,
    /// A tree has no more pages than the file.
    pages_left: u64,
    last: Option<Vec<u8>>,
}

impl<R: ReadAt + ?Sized> Items<'_, '_, R> {
    /// The next one, if there is one.
    ///
    /// # Errors
    /// If the file is damaged there. Nothing more can be asked for then.
    #[expect(clippy::should_implement_trait, reason = "an error ends it, and `?` says so best")]
    pub fn next(&mut self) -> Result<Option<Item>, Error> {
        loop {
            let Some((page, index)) = self.path.last_mut() else { return Ok(None) };
            if *index == page.count {
                self.path.pop();
                continue;
            }
            let at = *index;
            *index += 1;
            if page.is_leaf {
                let item = page.item(at)?;
                if self.last.as_ref().is_some_and(|last| *last >= item.key) {
                    return Err(damaged(format!("the keys of page {} are out of order", page.id)));
                }
                self.last = Some(item.key.clone());
                return Ok(Some(item));
            }
            let child = page.child(at);
            self.pages_left = self
                .pages_left
                .checked_sub(1)
                .ok_or_else(|| damaged("a tree leads into itself"))?;
            if self.path.len() >= DEPTH_MAX {
                return Err(damaged("a tree is too deep"));
            }
            let child = self.bolt.page(child)?;
            self.path.push((child, 0));
        }
    }
}
