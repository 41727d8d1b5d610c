//! How rows and channels lie in memory: in panels, contiguous in the order in which they are multiplied.

/// Rows and channels of a tile. With AVX-512 its sums take 28 of the 32 registers.
pub(super) const ROWS: usize = 14;
pub(super) const COLUMNS: usize = 32;

/// Neighbours along `k` that one instruction multiplies and adds up.
pub(super) const DEPTH: usize = 4;

/// Values of the same place along `k` of all rows of a tile.
pub(super) type LeftEntry = [[u8; DEPTH]; ROWS];

/// Weights of the same place along `k` of all channels of a tile.
#[derive(Clone, Debug)]
#[repr(align(64))]
pub(super) struct RightEntry(pub(super) [[i8; DEPTH]; COLUMNS]);

/// An integer for each channel of a tile.
#[derive(Clone, Debug)]
#[repr(align(64))]
pub(super) struct Channels(pub(super) [i32; COLUMNS]);

pub(super) type Sums = [Channels; ROWS];
