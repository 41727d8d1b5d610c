//! A file of data that is read once, from its start to its end: a file on disk, a pipe, or standard
//! input. It is never opened twice, so that a pipe works wherever a file does.

pub mod decode;
mod decompress;
pub mod kind;
mod start;

use std::fs::File;
use std::io::{Cursor, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE};

use self::decode::Decoded;
use self::decompress::{Compression, Counted};
use self::kind::BinaryKind;
use self::start::{Seen, Start, look_up};
use crate::stage::error::StageError;

/// U+FEFF in UTF-8, with which some programs start a file.
pub const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// How many bytes are read at once, and how many at the start can be seen before they are read.
const BUFFER: usize = 1 << 16;

/// The marks of encodings. UTF-32 is not read: its mark tells it from UTF-16.
const MARKS: [Start<Option<&Encoding>>; 5] = [
    (BYTE_ORDER_MARK, Some(UTF_8)),
    (b"\xff\xfe\0\0", None),
    (b"\0\0\xfe\xff", None),
    (b"\xff\xfe", Some(UTF_16LE)),
    (b"\xfe\xff", Some(UTF_16BE)),
];

/// How files start that hold no text, what they are, and what to do.
const FOREIGN: [(&[u8], &str, &str); 11] = [
    (b"\xff\xfe\0\0", "UTF-32", "convert it first: `iconv -f UTF-32 -t UTF-8`"),
    (b"\0\0\xfe\xff", "UTF-32", "convert it first: `iconv -f UTF-32 -t UTF-8`"),
    (b"\x1f\x8b\x08", "a gzip archive in another archive", "decompress it once: `gzip -d`"),
    (b"\x28\xb5\x2f\xfd", "a zstd archive in another archive", "decompress it once: `zstd -d`"),
    (b"BZh91AY&SY", "a bzip2 archive in another archive", "decompress it once: `bzip2 -d`"),
    (b"\xfd7zXZ", "an xz archive", "decompress it first: `xz -d`"),
    (b"PK\x03\x04", "a zip archive or a spreadsheet", "unpack it, or save it as CSV"),
    (b"PARE", "an encrypted Parquet file", "save it without encryption"),
    (b"FEA1", "a Feather file of version 1", "save it as version 2"),
    (b"%PDF-", "a PDF document", "save its texts as CSV or JSON lines"),
    (b"SQLite format 3\0", "a database", "export its texts as CSV"),
];

/// An open file. What gzip, zstd or bzip2 have compressed is decompressed, text in another encoding
/// is turned into UTF-8, and a byte order mark is dropped.
pub struct DataFile {
    bytes: Box<dyn Read + Send>,
    /// The file itself, if it is one on a disk.
    on_disk: Option<File>,
    kind: Option<BinaryKind>,
    /// The encoding of a text without a mark; `None`: UTF-8.
    encoding: Option<&'static Encoding>,
    name: PathBuf,
    buffer: Vec<u8>,
    /// The bytes in `buffer` that are not yet used are those from `start` to `end`.
    start: usize,
    end: usize,
    begun: bool,
    used_bytes: u64,
    total_bytes: u64,
    /// The bytes read of a compressed file, before they are decompressed.
    compressed_bytes: Option<Arc<AtomicU64>>,
}

impl DataFile {
    /// # Errors
    /// The file cannot be opened.
    pub fn open(path: &Path) -> Result<DataFile, StageError> {
        let file = File::open(path).map_err(StageError::io("opening", path))?;
        let metadata = file.metadata().map_err(StageError::io("reading", path))?;
        let on_disk = match metadata.is_file() {
            true => Some(file.try_clone().map_err(StageError::io("opening", path))?),
            false => None,
        };
        let total_bytes = if on_disk.is_some() { metadata.len() } else { 0 };
        Ok(DataFile { on_disk, total_bytes, ..DataFile::of(path, file) })
    }

    /// Standard input, which error messages call so.
    pub fn standard_input() -> DataFile {
        DataFile::of(Path::new("standard input"), std::io::stdin())
    }

    /// Bytes from anywhere, with the name that error messages give them.
    pub fn of(name: &Path, bytes: impl Read + Send + 'static) -> DataFile {
        DataFile {
            bytes: Box::new(bytes),
            on_disk: None,
            kind: None,
            encoding: None,
            name: name.to_owned(),
            buffer: vec![0; BUFFER],
            start: 0,
            end: 0,
            begun: false,
            used_bytes: 0,
            total_bytes: 0,
            compressed_bytes: None,
        }
    }

    /// Lets a text without a mark be read in this encoding. Only for use before anything is read.
    pub fn decode_as(&mut self, encoding: Option<&'static Encoding>) {
        self.encoding = encoding.filter(|encoding| *encoding != UTF_8);
    }

    /// The path, or what the file is called in error messages.
    pub fn name(&self) -> &Path {
        &self.name
    }

    /// The bytes used so far, and the size of the file when it was opened; 0 if it has none.
    pub fn bytes(&self) -> (u64, u64) {
        match &self.compressed_bytes {
            Some(count) => (count.load(Ordering::Relaxed), self.total_bytes),
            None => (self.used_bytes, self.total_bytes),
        }
    }

    /// The next bytes; none at the end of the file. [`DataFile::consume`] goes beyond them.
    pub fn fill(&mut self) -> Result<&[u8], StageError> {
        self.begin()?;
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
            self.read_more()?;
        }
        Ok(&self.buffer[self.start..self.end])
    }

    pub fn consume(&mut self, bytes: usize) {
        self.start += bytes;
        self.used_bytes += bytes as u64;
    }

    /// The bytes at the start of the file as far as the end of the first line that is not blank, or
    /// further; at most 64 KiB. They are read again later. Only for use before anything is consumed.
    pub fn first_line(&mut self) -> Result<&[u8], StageError> {
        self.begin()?;
        let is_complete = |bytes: &[u8]| bytes.trim_ascii_start().contains(&b'\n');
        while !is_complete(&self.buffer[self.start..self.end]) && self.read_more()? {}
        Ok(&self.buffer[self.start..self.end])
    }

    /// The first 64 KiB of the file, or all of it. They are read again later. Only for use before
    /// anything is consumed.
    pub fn sample(&mut self) -> Result<&[u8], StageError> {
        self.begin()?;
        while self.read_more()? {}
        Ok(&self.buffer[self.start..self.end])
    }

    /// Whether [`DataFile::sample`] is the whole file.
    pub fn is_whole(&self) -> bool {
        self.end < self.buffer.len()
    }

    /// What the file holds if it is no text.
    pub fn binary_kind(&mut self) -> Result<Option<BinaryKind>, StageError> {
        self.begin()?;
        Ok(self.kind)
    }

    /// The file to be read in any order. What is compressed or comes through a pipe is written to a
    /// temporary file first, which nobody else sees.
    pub fn into_file(mut self) -> Result<File, StageError> {
        self.begin()?;
        if let (Some(file), None) = (&self.on_disk, &self.compressed_bytes) {
            return file.try_clone().map_err(StageError::io("opening", &self.name));
        }
        let name = self.name.clone();
        let problem = || StageError::io("copying to a temporary file", &name);
        let mut file = tempfile::tempfile().map_err(problem())?;
        let mut written = 0;
        loop {
            let part = self.fill()?;
            if part.is_empty() {
                return Ok(file);
            }
            file.write_all(part).map_err(problem())?;
            let count = part.len();
            self.consume(count);
            written += count as u64;
            // Its pages are compressed, so nothing makes it much smaller.
            let compressed = self.bytes().0;
            if self.compressed_bytes.is_some() && written > LARGE && written / SHRUNK > compressed {
                let problem = format!(
                    "decompressed it is over {SHRUNK} times as large, so it is hardly what it seems \
                     to be; decompress it yourself if you trust it"
                );
                return Err(StageError::File { path: self.name, problem });
            }
        }
    }

    /// # Errors
    /// The file starts as files do that hold something else than text in UTF-8.
    pub fn refuse_foreign(&mut self) -> Result<(), StageError> {
        self.begin()?;
        if let Some(kind) = self.kind {
            let problem = format!("expected text, found {}", kind.name());
            return Err(StageError::File { path: self.name.clone(), problem });
        }
        let head = self.first_line()?;
        let known = FOREIGN.iter().find(|(start, ..)| head.starts_with(start));
        let found = match (known, head) {
            (Some((_, what, help)), _) => Some((*what, (*help).to_owned())),
            // The zeros beside the letters of UTF-16 without a mark.
            (None, [0, ..]) => Some((ZEROS, name_encoding("utf-16be"))),
            (None, [_, 0, ..]) => Some((ZEROS, name_encoding("utf-16le"))),
            (None, _) => None,
        };
        let Some((what, help)) = found else { return Ok(()) };
        let problem = format!("expected text in UTF-8, found {what}; {help}");
        Err(StageError::File { path: self.name.clone(), problem })
    }

    /// Looks at the first bytes and reads the file as they say. Waits for no more of them than it
    /// needs, since a person may be typing.
    fn begin(&mut self) -> Result<(), StageError> {
        if self.begun {
            return Ok(());
        }
        self.begun = true;
        if let Some((_, compression)) = self.start(&Compression::STARTS)? {
            self.decompress(compression)?;
        }
        self.kind = self.start(&BinaryKind::STARTS)?.map(|(_, kind)| kind);
        if self.kind.is_some() {
            return Ok(());
        }
        match self.start(&MARKS)? {
            Some((length, Some(marked))) => {
                self.consume(length);
                if marked != UTF_8 {
                    self.decode(marked);
                }
            }
            Some((_, None)) => {}
            None => self.encoding.into_iter().for_each(|encoding| self.decode(encoding)),
        }
        Ok(())
    }

    fn start<T: Copy>(&mut self, starts: &[Start<T>]) -> Result<Option<(usize, T)>, StageError> {
        loop {
            match look_up(&self.buffer[self.start..self.end], starts) {
                Seen::Is(length, what) => return Ok(Some((length, what))),
                Seen::Other => return Ok(None),
                Seen::Perhaps(found) if !self.read_more()? => return Ok(found),
                Seen::Perhaps(_) => {}
            }
        }
    }

    fn decompress(&mut self, compression: Compression) -> Result<(), StageError> {
        let count = Arc::new(AtomicU64::new(0));
        self.compressed_bytes = Some(Arc::clone(&count));
        let bytes = Counted { bytes: self.take(), count };
        self.bytes =
            compression.reader(bytes).map_err(StageError::io("decompressing", &self.name))?;
        Ok(())
    }

    fn decode(&mut self, encoding: &'static Encoding) {
        self.bytes = Box::new(Decoded::new(self.take(), encoding));
    }

    /// All bytes of the file that are not yet used. Leaves none.
    fn take(&mut self) -> Box<dyn Read + Send> {
        let seen = self.buffer[self.start..self.end].to_vec();
        (self.start, self.end) = (0, 0);
        let rest = std::mem::replace(&mut self.bytes, Box::new(std::io::empty()));
        Box::new(Cursor::new(seen).chain(rest))
    }

    /// Reads into the free end of the buffer; `false` if there is none, or no further byte.
    fn read_more(&mut self) -> Result<bool, StageError> {
        loop {
            match self.bytes.read(&mut self.buffer[self.end..]) {
                Ok(count) => {
                    self.end += count;
                    return Ok(count > 0);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(StageError::io("reading", &self.name)(error)),
            }
        }
    }
}

/// A decompressed file of this size is refused if it is as many times larger than before.
const LARGE: u64 = 1 << 30;
const SHRUNK: u64 = 100;

const ZEROS: &str = "zero bytes, as in UTF-16";

fn name_encoding(name: &str) -> String {
    format!("name the encoding, for instance `encoding: {name}`, or convert it first")
}
