//! The parts of a file that both sides know: the header of a page, and the meta.

use alloc::vec::Vec;

pub(crate) const HEADER: usize = 16;
/// The length of an element of a leaf or a branch.
pub(crate) const ELEMENT: usize = 16;
/// What a bucket has before its page, if that is in it.
pub(crate) const BUCKET: usize = 16;
/// The length of a meta behind the header of its page.
pub(crate) const META_BYTES: usize = 64;

pub(crate) const BRANCH: u16 = 0x01;
pub(crate) const LEAF: u16 = 0x02;
pub(crate) const META: u16 = 0x04;
pub(crate) const FREELIST: u16 = 0x10;

/// The flag of an element of a leaf that is a bucket.
pub(crate) const IS_BUCKET: u32 = 1;

const MAGIC: u32 = 0xed0c_daed;
const VERSION: u32 = 2;

/// The smallest and the largest page that is believed.
const PAGE_SIZES: core::ops::RangeInclusive<u32> = 512..=1 << 24;

pub(crate) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

pub(crate) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// What a page begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) id: u64,
    pub(crate) kind: u16,
    pub(crate) count: u16,
    /// How many pages behind this one belong to it.
    pub(crate) overflow: u32,
}

impl Header {
    pub(crate) fn parse(page: &[u8]) -> Option<Self> {
        Some(Self {
            id: u64_at(page, 0)?,
            kind: u16_at(page, 8)?,
            count: u16_at(page, 10)?,
            overflow: u32_at(page, 12)?,
        })
    }

    pub(crate) fn write(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.id.to_le_bytes());
        out.extend_from_slice(&self.kind.to_le_bytes());
        out.extend_from_slice(&self.count.to_le_bytes());
        out.extend_from_slice(&self.overflow.to_le_bytes());
    }
}

/// Where everything begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Meta {
    pub(crate) page_size: u32,
    /// The page in which the tree of the top-level buckets begins.
    pub(crate) root: u64,
    pub(crate) freelist: u64,
    /// All pages have a lower number.
    pub(crate) pages: u64,
    pub(crate) transaction: u64,
}

impl Meta {
    /// Reads a page of this kind, without what follows the meta. `None` if it is none, or damaged.
    pub(crate) fn parse(page: &[u8]) -> Option<Self> {
        let header = Header::parse(page)?;
        let bytes = page.get(HEADER..HEADER + META_BYTES)?;
        let is_known = u32_at(bytes, 0)? == MAGIC && u32_at(bytes, 4)? == VERSION;
        let checksum = u64_at(bytes, META_BYTES - 8)?;
        let page_size = u32_at(bytes, 8)?;
        let is_sound = header.kind & META != 0
            && is_known
            && checksum == fnv_1a(&bytes[..META_BYTES - 8])
            && PAGE_SIZES.contains(&page_size)
            && page_size.is_power_of_two();
        is_sound.then_some(())?;
        Some(Self {
            page_size,
            root: u64_at(bytes, 16)?,
            freelist: u64_at(bytes, 32)?,
            pages: u64_at(bytes, 40)?,
            transaction: u64_at(bytes, 48)?,
        })
    }

    pub(crate) fn write(self, out: &mut Vec<u8>) {
        let begin = out.len();
        for number in [MAGIC, VERSION, self.page_size, 0] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        for number in [self.root, 0, self.freelist, self.pages, self.transaction] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        let checksum = fnv_1a(&out[begin..]);
        out.extend_from_slice(&checksum.to_le_bytes());
    }
}

/// FNV-1a with 64 bits.
pub(crate) fn fnv_1a(bytes: &[u8]) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, step)
}
