//! Files that are imported, as any bytes.

use bytes::Bytes;
use quorate_bolt::{Bolt, Layout};
use quorate_mvcc::mem::MemEngine;
use quorate_mvcc::{Beginning, ReadState, Store};

use super::restore::fill;
use super::{Image, content, tail};

/// The backend of an etcd: the store that is made of it.
///
/// # Errors
/// Why there is none.
pub fn import(image: &[u8], bump: i64) -> Result<Store, String> {
    let bolt = Bolt::open(image).map_err(|error| error.to_string())?;
    let facts = content::facts(&bolt)?;
    let how = Beginning {
        entry: super::restore::FIRST,
        membership: Bytes::from_static(b"members"),
        compacted: facts.compacted,
        bump,
    };
    let (store, _) = fill(&bolt, Box::new(MemEngine::new()), &how)?;
    content::alarms(&bolt)?;
    content::foreign_passwords(&bolt)?;
    Ok(store)
}

/// A backup of a state.
///
/// # Errors
/// Why there is none.
pub fn save(state: ReadState) -> Result<Vec<u8>, String> {
    let image = Image { state, members: Vec::new() };
    let told = |error| format!("{error:?}");
    let layout = image.write(Layout::default(), &mut |_| Ok(())).map_err(told)?;
    let mut bytes = Vec::new();
    image
        .write(layout, &mut |page| {
            bytes.extend_from_slice(page);
            Ok(())
        })
        .map_err(told)?;
    assert_eq!(bytes.len() as u64, layout.bytes());
    Ok(bytes)
}

/// A file of the log of an etcd.
///
/// # Errors
/// Why it can't be read.
pub fn log(file: &[u8], applied: u64) -> Result<(), String> {
    tail::Tail::default().take_all(file, file.len() as u64, applied)
}
