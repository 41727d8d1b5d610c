//! Reads what gzip, zstd and bzip2 have compressed, in constant memory. The first bytes say which of
//! them it was, not the name of the file.

use std::io::{self, BufRead, BufReader, ErrorKind, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::bufread::GzDecoder;

use super::start::Start;

/// The largest window of zstd, as a power of two: 128 MiB. Only `zstd --long=28` and more need
/// another one; a file could ask for gigabytes.
const ZSTD_WINDOW: u32 = 27;

/// How a file is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    Gzip,
    Zstd,
    Bzip2,
}

impl Compression {
    /// How compressed files start. `?` stands for a digit.
    pub const STARTS: [Start<Compression>; 5] = [
        (b"\x1f\x8b\x08", Compression::Gzip),
        (b"\x28\xb5\x2f\xfd", Compression::Zstd),
        // A frame that is skipped, with which some programs start.
        (b"\x50\x2a\x4d\x18", Compression::Zstd),
        (b"BZh?1AY&SY", Compression::Bzip2),
        (b"BZh?\x17\x72\x45\x38\x50\x90", Compression::Bzip2),
    ];

    pub fn name(self) -> &'static str {
        match self {
            Compression::Gzip => "gzip",
            Compression::Zstd => "zstd",
            Compression::Bzip2 => "bzip2",
        }
    }

    /// Decompresses. Several compressed parts, one after the other, are read as one.
    pub fn reader(
        self,
        compressed: impl Read + Send + 'static,
    ) -> io::Result<Box<dyn Read + Send>> {
        let compressed = BufReader::with_capacity(1 << 16, compressed);
        let bytes: Box<dyn Read + Send> = match self {
            Compression::Gzip => Box::new(GzipMembers { member: Some(GzDecoder::new(compressed)) }),
            Compression::Bzip2 => Box::new(bzip2::bufread::MultiBzDecoder::new(compressed)),
            Compression::Zstd => Box::new(zstd_reader(compressed)?),
        };
        Ok(Box::new(Decompressed { bytes, compression: self }))
    }
}

/// The members of a gzip file, one after the other. Programs that write whole blocks, to tapes for
/// instance, fill the last one with zeros, which `gzip` ignores as well.
struct GzipMembers<R> {
    /// `None` after the last one.
    member: Option<GzDecoder<R>>,
}

impl<R: BufRead> Read for GzipMembers<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while let Some(member) = &mut self.member {
            let count = member.read(buffer)?;
            if count > 0 || buffer.is_empty() {
                return Ok(count);
            }
            let Some(mut rest) = self.member.take().map(GzDecoder::into_inner) else { break };
            self.member = has_more(&mut rest)?.then(|| GzDecoder::new(rest));
        }
        Ok(0)
    }
}

/// Whether anything but zeros follows, which are skipped.
fn has_more(rest: &mut impl BufRead) -> io::Result<bool> {
    loop {
        let bytes = rest.fill_buf()?;
        let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
        if zeros == 0 {
            return Ok(!bytes.is_empty());
        }
        rest.consume(zeros);
    }
}

fn zstd_reader<R: BufRead>(compressed: R) -> io::Result<zstd::Decoder<'static, R>> {
    let mut decoder = zstd::Decoder::with_buffer(compressed)?;
    decoder.window_log_max(ZSTD_WINDOW)?;
    Ok(decoder)
}

/// Says in words what is wrong with the compressed bytes.
struct Decompressed {
    bytes: Box<dyn Read + Send>,
    compression: Compression,
}

impl Read for Decompressed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.bytes.read(buffer).map_err(|error| {
            let name = self.compression.name();
            match error.kind() {
                // The disk failed, not the decompression.
                _ if error.raw_os_error().is_some() => error,
                ErrorKind::Interrupted => error,
                ErrorKind::UnexpectedEof => {
                    io::Error::new(ErrorKind::InvalidData, format!("the {name} data is cut off"))
                }
                _ => {
                    let problem = format!("the {name} data is damaged ({error})");
                    io::Error::new(ErrorKind::InvalidData, problem)
                }
            }
        })
    }
}

/// Counts the bytes that are read.
pub struct Counted<R> {
    pub bytes: R,
    pub count: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.bytes.read(buffer)?;
        self.count.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}
