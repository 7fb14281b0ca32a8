//! Writes a new file, from its beginning to its end.
//!
//! Trees are built from below: a page is complete when the next key does not fit any more, gets the next number, and is
//! written; the page above remembers its first key and its number. So all pages are written once and in order, but for
//! the metas, which come first and say where the end is. Hence the two passes: the first throws the pages away and
//! gives the [`Layout`], the second begins with it.
//!
//! Pages are filled to the brim, as nobody is expected to write between the keys. A branch has two elements at least:
//! bbolt takes that for granted when it deletes.

use alloc::vec;
use alloc::vec::Vec;

use crate::format::{BRANCH, ELEMENT, FREELIST, HEADER, Header, IS_BUCKET, LEAF, META, Meta};

/// The size of the pages, in bytes.
pub const PAGE_SIZE: usize = 4096;

/// The longest key, in bytes: bbolt's limit.
pub const KEY_BYTES_MAX: usize = 32_768;

/// The longest value, in bytes: bbolt's limit.
pub const VALUE_BYTES_MAX: usize = (1 << 31) - 2;

/// The page that says that no page is free.
const FREELIST_PAGE: u64 = 2;

/// The transaction of the newer of the two metas.
const LAST_TRANSACTION: u64 = 1;

/// What is known of a file once it is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    root: u64,
    pages: u64,
}

impl Layout {
    /// The size of the file, in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.pages * PAGE_SIZE as u64
    }
}

/// A file that is being written. `E` is why somebody could not take a page.
pub struct Writer<'s, E> {
    pages: Pages<'s, E>,
    buckets: Tree,
    open: Option<(Vec<u8>, Tree)>,
}

impl<E> core::fmt::Debug for Writer<'_, E> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Writer").field("next", &self.pages.next).finish_non_exhaustive()
    }
}

impl<'s, E> Writer<'s, E> {
    /// Begins a file whose pages go to `sink`, in order, with those that belong together at once. `layout` is what an
    /// earlier pass over the same content gave; anything in the first pass.
    ///
    /// # Errors
    /// Those of `sink`.
    pub fn begin(
        layout: Layout,
        sink: &'s mut dyn FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<Self, E> {
        let mut pages = Pages { sink, next: 0 };
        for transaction in 0..=LAST_TRANSACTION {
            let meta = Meta {
                page_size: PAGE_SIZE as u32,
                root: layout.root,
                freelist: FREELIST_PAGE,
                pages: layout.pages,
                transaction,
            };
            pages.write(META, 0, |out| meta.write(out))?;
        }
        let freelist = pages.write(FREELIST, 0, |_| ())?;
        assert_eq!(freelist, FREELIST_PAGE, "two pages come before it");
        Ok(Self { pages, buckets: Tree::default(), open: None })
    }

    /// Begins the next top-level bucket.
    ///
    /// # Errors
    /// Those of the sink.
    ///
    /// # Panics
    /// If the name does not come after that of the last, or is empty or too long for a key.
    pub fn bucket(&mut self, name: &[u8]) -> Result<(), E> {
        self.close()?;
        self.open = Some((name.to_vec(), Tree::default()));
        Ok(())
    }

    /// Adds a key to the bucket.
    ///
    /// # Errors
    /// Those of the sink.
    ///
    /// # Panics
    /// If there is no bucket, the key does not come after the last, or one of the two is empty or longer than bbolt
    /// allows.
    pub fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), E> {
        let (_, tree) = self.open.as_mut().expect("a key is in a bucket");
        tree.put(&mut self.pages, key, value, 0)
    }

    /// Ends the file. Gives what the second pass begins with, which must give the same.
    ///
    /// # Errors
    /// Those of the sink.
    pub fn finish(mut self) -> Result<Layout, E> {
        self.close()?;
        let root = self.buckets.finish(&mut self.pages)?;
        Ok(Layout { root, pages: self.pages.next })
    }

    /// Ends the bucket, if there is one.
    fn close(&mut self) -> Result<(), E> {
        let Some((name, tree)) = self.open.take() else { return Ok(()) };
        let mut value = Vec::new();
        if tree.is_empty() {
            // As bbolt makes one: an empty leaf in the value itself.
            value.extend_from_slice(&[0; 16]);
            Header { id: 0, kind: LEAF, count: 0, overflow: 0 }.write(&mut value);
        } else {
            value.extend_from_slice(&tree.finish(&mut self.pages)?.to_le_bytes());
            value.extend_from_slice(&0_u64.to_le_bytes());
        }
        self.buckets.put(&mut self.pages, &name, &value, IS_BUCKET)
    }
}

/// Where pages go, and which number the next one has.
struct Pages<'s, E> {
    sink: &'s mut dyn FnMut(&[u8]) -> Result<(), E>,
    next: u64,
}

impl<E> Pages<'_, E> {
    /// Writes a page, and returns its number.
    fn write(
        &mut self,
        kind: u16,
        count: usize,
        content: impl FnOnce(&mut Vec<u8>),
    ) -> Result<u64, E> {
        let mut out = vec![0; HEADER];
        content(&mut out);
        let pages = out.len().div_ceil(PAGE_SIZE);
        out.resize(pages * PAGE_SIZE, 0);
        let id = self.next;
        let count = u16::try_from(count).expect("a page has no room for more");
        let overflow = u32::try_from(pages - 1).expect("a value is not so long");
        let mut header = Vec::with_capacity(HEADER);
        Header { id, kind, count, overflow }.write(&mut header);
        out[..HEADER].copy_from_slice(&header);
        self.next += pages as u64;
        (self.sink)(&out)?;
        Ok(id)
    }
}

/// A tree of which the last page of each level is open.
#[derive(Default)]
struct Tree {
    leaf: Leaf,
    /// From below.
    branches: Vec<Branch>,
    last: Option<Vec<u8>>,
}

#[derive(Default)]
struct Leaf {
    /// Flags, and the lengths of key and value, which lie one behind the other in `data`.
    elements: Vec<(u32, usize, usize)>,
    data: Vec<u8>,
}

#[derive(Default)]
struct Branch {
    elements: Vec<(Vec<u8>, u64)>,
    key_bytes: usize,
}

impl Tree {
    fn is_empty(&self) -> bool {
        self.last.is_none()
    }

    fn put<E>(
        &mut self,
        pages: &mut Pages<'_, E>,
        key: &[u8],
        value: &[u8],
        flags: u32,
    ) -> Result<(), E> {
        assert!((1..=KEY_BYTES_MAX).contains(&key.len()), "a key of {} bytes", key.len());
        assert!(value.len() <= VALUE_BYTES_MAX, "a value of {} bytes", value.len());
        assert!(self.last.as_deref().is_none_or(|last| last < key), "keys come in order");
        let count = self.leaf.elements.len();
        let size = HEADER + (count + 1) * ELEMENT + self.leaf.data.len() + key.len() + value.len();
        if size > PAGE_SIZE && count > 0 {
            let (first, id) = self.leaf.write(pages)?;
            self.lead_to(pages, 0, first, id)?;
        }
        self.leaf.elements.push((flags, key.len(), value.len()));
        self.leaf.data.extend_from_slice(key);
        self.leaf.data.extend_from_slice(value);
        self.last = Some(key.to_vec());
        Ok(())
    }

    /// Lets a branch of a level lead to a page that was written.
    fn lead_to<E>(
        &mut self,
        pages: &mut Pages<'_, E>,
        level: usize,
        first: Vec<u8>,
        id: u64,
    ) -> Result<(), E> {
        if level == self.branches.len() {
            self.branches.push(Branch::default());
        }
        let branch = &mut self.branches[level];
        let count = branch.elements.len();
        let size = HEADER + (count + 1) * ELEMENT + branch.key_bytes + first.len();
        // Two stay here, and two go.
        let full = size > PAGE_SIZE && count >= 3;
        let written = if full { Some(branch.write(pages, count - 1)?) } else { None };
        let branch = &mut self.branches[level];
        branch.key_bytes += first.len();
        branch.elements.push((first, id));
        match written {
            Some((first, id)) => self.lead_to(pages, level + 1, first, id),
            None => Ok(()),
        }
    }

    /// Writes what is open, and returns the page in which the tree begins.
    fn finish<E>(mut self, pages: &mut Pages<'_, E>) -> Result<u64, E> {
        let (mut first, mut root) = self.leaf.write(pages)?;
        let mut level = 0;
        while level < self.branches.len() {
            self.lead_to(pages, level, first, root)?;
            let branch = &mut self.branches[level];
            let count = branch.elements.len();
            assert!(count >= 2, "a branch of {count}");
            (first, root) = branch.write(pages, count)?;
            level += 1;
        }
        Ok(root)
    }
}

impl Leaf {
    /// Writes the page, and returns its first key and its number.
    fn write<E>(&mut self, pages: &mut Pages<'_, E>) -> Result<(Vec<u8>, u64), E> {
        let Self { elements, data } = core::mem::take(self);
        let first = elements.first().map(|(_, key, _)| data[..*key].to_vec());
        let id = pages.write(LEAF, elements.len(), |out| {
            let mut behind = elements.len() * ELEMENT;
            for (flags, key, value) in &elements {
                let numbers = [*flags as usize, behind, *key, *value];
                for number in numbers {
                    let number = u32::try_from(number).expect("a page is not so long");
                    out.extend_from_slice(&number.to_le_bytes());
                }
                behind = behind - ELEMENT + key + value;
            }
            out.extend_from_slice(&data);
        })?;
        Ok((first.unwrap_or_default(), id))
    }
}

impl Branch {
    /// Writes a page of the first so many, and returns its first key and its number.
    fn write<E>(&mut self, pages: &mut Pages<'_, E>, count: usize) -> Result<(Vec<u8>, u64), E> {
        let rest = self.elements.split_off(count);
        let elements = core::mem::replace(&mut self.elements, rest);
        self.key_bytes = self.elements.iter().map(|(key, _)| key.len()).sum();
        let id = pages.write(BRANCH, count, |out| {
            let mut behind = count * ELEMENT;
            for (key, id) in &elements {
                for number in [behind, key.len()] {
                    let number = u32::try_from(number).expect("a page is not so long");
                    out.extend_from_slice(&number.to_le_bytes());
                }
                out.extend_from_slice(&id.to_le_bytes());
                behind = behind - ELEMENT + key.len();
            }
            elements.iter().for_each(|(key, _)| out.extend_from_slice(key));
        })?;
        let first = elements.into_iter().next().expect("a branch has elements").0;
        Ok((first, id))
    }
}
