//! Turns a text in another encoding into UTF-8 while it is read.

use std::io::{self, ErrorKind, Read};

use encoding_rs::{Decoder, DecoderResult, Encoding};

/// Stands for bytes that mean nothing in the encoding of the file. It is not UTF-8, so the row that
/// has it is refused like any other row that is not UTF-8.
pub const MEANINGLESS: &[u8] = b"\xff\xff\xff";

/// How many bytes are decoded at once.
const PART: usize = 1 << 15;

/// The encoding with a name of the web's encoding standard: `latin1`, `windows-1252`, `shift_jis`,
/// `utf-16le` and so on.
pub fn encoding(name: &str) -> Option<&'static Encoding> {
    Encoding::for_label_no_replacement(name.as_bytes())
}

/// Names to suggest.
pub const COMMON_ENCODINGS: [&str; 12] = [
    "utf-8",
    "windows-1252",
    "latin1",
    "iso-8859-15",
    "windows-1251",
    "koi8-r",
    "utf-16le",
    "utf-16be",
    "shift_jis",
    "gb18030",
    "big5",
    "euc-kr",
];

/// A reader of UTF-8.
pub struct Decoded<R> {
    bytes: R,
    decoder: Decoder,
    encoded: Vec<u8>,
    /// The bytes in `encoded` that are still to be decoded.
    start: usize,
    end: usize,
    /// The decoded text, and how much of it was read.
    text: Vec<u8>,
    read: usize,
    finished: bool,
}

impl<R: Read> Decoded<R> {
    pub fn new(bytes: R, encoding: &'static Encoding) -> Decoded<R> {
        Decoded {
            bytes,
            decoder: encoding.new_decoder_without_bom_handling(),
            encoded: vec![0; PART],
            start: 0,
            end: 0,
            text: Vec::new(),
            read: 0,
            finished: false,
        }
    }

    /// Decodes what there is, and more if there is nothing.
    fn decode(&mut self) -> io::Result<()> {
        let mut at_end = false;
        if self.start == self.end {
            self.end = self.bytes.read(&mut self.encoded)?;
            self.start = 0;
            at_end = self.end == 0;
        }
        // A character has at most 3 bytes of UTF-8 for each of its own, or 4 for 2 and more.
        self.text.resize(3 * PART + 16, 0);
        let (result, used, written) = self.decoder.decode_to_utf8_without_replacement(
            &self.encoded[self.start..self.end],
            &mut self.text,
            at_end,
        );
        self.start += used;
        self.text.truncate(written);
        if let DecoderResult::Malformed(..) = result {
            self.text.extend_from_slice(MEANINGLESS);
        }
        self.read = 0;
        self.finished = at_end && result == DecoderResult::InputEmpty;
        Ok(())
    }
}

impl<R: Read> Read for Decoded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.read == self.text.len() && !self.finished {
            match self.decode() {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                decoded => decoded?,
            }
        }
        let count = (&self.text[self.read..]).read(buffer)?;
        self.read += count;
        Ok(count)
    }
}
