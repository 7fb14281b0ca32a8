//! The peer codec.

/// The largest command or question that a frame may carry, in bytes.
pub(crate) const COMMAND_BYTES_MAX: usize = 16 << 20;
