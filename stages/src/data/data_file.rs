//! A file of data that is read once, from its start to its end: a file on disk, a pipe, or standard
//! input. It is never opened twice, so that a pipe works wherever a file does.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use crate::stage::error::StageError;

/// U+FEFF in UTF-8, with which some programs start a file.
pub const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// How many bytes are read at once, and how many at the start can be seen before they are read.
const BUFFER: usize = 1 << 16;

/// How files start that hold no text in UTF-8, what they are, and what to do.
const FOREIGN: [(&[u8], &str, &str); 9] = [
    (b"\xff\xfe", "UTF-16", TO_UTF8),
    (b"\xfe\xff", "UTF-16", TO_UTF8),
    (b"\x1f\x8b", "a gzip archive", "decompress it first: `gzip -d`"),
    (b"\x28\xb5\x2f\xfd", "a zstd archive", "decompress it first: `zstd -d`"),
    (b"BZh91AY&SY", "a bzip2 archive", "decompress it first: `bzip2 -d`"),
    (b"\xfd7zXZ", "an xz archive", "decompress it first: `xz -d`"),
    (b"PK\x03\x04", "a zip archive or a spreadsheet", "unpack it, or save it as CSV"),
    (b"PAR1\x15", "a Parquet file", "save it as CSV or JSON lines"),
    (b"%PDF-", "a PDF document", "save its texts as CSV or JSON lines"),
];

const TO_UTF8: &str = "convert it first: `iconv -f UTF-16 -t UTF-8`";

/// An open file. Drops a byte order mark at its start.
pub struct DataFile {
    bytes: Box<dyn Read + Send>,
    name: PathBuf,
    buffer: Vec<u8>,
    /// The bytes in `buffer` that are not yet used are those from `start` to `end`.
    start: usize,
    end: usize,
    begun: bool,
    used_bytes: u64,
    total_bytes: u64,
}

impl DataFile {
    /// # Errors
    /// The file cannot be opened.
    pub fn open(path: &Path) -> Result<DataFile, StageError> {
        let file = File::open(path).map_err(StageError::io("opening", path))?;
        let metadata = file.metadata().map_err(StageError::io("reading", path))?;
        let mut opened = DataFile::of(path, file);
        opened.total_bytes = if metadata.is_file() { metadata.len() } else { 0 };
        Ok(opened)
    }

    /// Standard input, which error messages call so.
    pub fn standard_input() -> DataFile {
        DataFile::of(Path::new("standard input"), std::io::stdin())
    }

    /// Bytes from anywhere, with the name that error messages give them.
    pub fn of(name: &Path, bytes: impl Read + Send + 'static) -> DataFile {
        DataFile {
            bytes: Box::new(bytes),
            name: name.to_owned(),
            buffer: vec![0; BUFFER],
            start: 0,
            end: 0,
            begun: false,
            used_bytes: 0,
            total_bytes: 0,
        }
    }

    /// The path, or what the file is called in error messages.
    pub fn name(&self) -> &Path {
        &self.name
    }

    /// The bytes used so far, and the size of the file when it was opened; 0 if it has none.
    pub fn bytes(&self) -> (u64, u64) {
        (self.used_bytes, self.total_bytes)
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

    /// # Errors
    /// The file starts as files do that hold something else than text in UTF-8.
    pub fn refuse_foreign(&mut self) -> Result<(), StageError> {
        let head = self.first_line()?;
        let known = FOREIGN.iter().find(|(start, ..)| head.starts_with(start));
        let found = match known {
            Some((_, what, help)) => Some((*what, *help)),
            // The zeros beside the letters of UTF-16 without a mark.
            None if head.iter().take(2).any(|byte| *byte == 0) => {
                Some(("zero bytes, as in UTF-16", TO_UTF8))
            }
            None => None,
        };
        let Some((what, help)) = found else { return Ok(()) };
        let problem = format!("expected text in UTF-8, found {what}; {help}");
        Err(StageError::File { path: self.name.clone(), problem })
    }

    /// Drops the byte order mark. Waits for no more bytes than it needs to see that there is none,
    /// since a person may be typing.
    fn begin(&mut self) -> Result<(), StageError> {
        if self.begun {
            return Ok(());
        }
        self.begun = true;
        while self.end < BYTE_ORDER_MARK.len()
            && BYTE_ORDER_MARK.starts_with(&self.buffer[..self.end])
            && self.read_more()?
        {}
        if self.buffer[..self.end].starts_with(BYTE_ORDER_MARK) {
            self.consume(BYTE_ORDER_MARK.len());
        }
        Ok(())
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
