//! Files of columns, which are not text.

use super::start::Start;

/// What a file holds that is not text, but can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BinaryKind {
    Parquet,
    ArrowFile,
    /// What a file of Arrow holds, without its end: as it comes through a pipe, and as the
    /// library `datasets` keeps it.
    ArrowStream,
}

impl BinaryKind {
    pub(super) const STARTS: [Start<BinaryKind>; 3] = [
        (b"PAR1\x15", BinaryKind::Parquet),
        (b"ARROW1\0\0", BinaryKind::ArrowFile),
        (b"\xff\xff\xff\xff", BinaryKind::ArrowStream),
    ];

    pub fn name(self) -> &'static str {
        match self {
            BinaryKind::Parquet => "a Parquet file",
            BinaryKind::ArrowFile | BinaryKind::ArrowStream => "an Arrow file",
        }
    }
}
