//! The messages of Arrow IPC, whose lengths are checked before memory is reserved for them: the
//! crate `arrow-ipc` trusts the lengths of compressed buffers.

use arrow_array::RecordBatch;
use arrow_buffer::Buffer;
use arrow_ipc::convert::try_fb_to_schema;
use arrow_ipc::reader::StreamDecoder;
use arrow_ipc::{Message, MessageHeader, root_as_message};
use arrow_schema::{Schema, SchemaRef};

use crate::data::data_file::DataFile;
use crate::stage::error::StageError;
use crate::stage::panics::guarded;

/// What comes before the length of a message. Files of before 2019 lack it.
const CONTINUATION: [u8; 4] = [0xff; 4];

/// The most bytes that a description of a message has, and that a message has when it is decompressed.
const MOST_DESCRIBED: usize = 64 << 20;
const MOST_BYTES: i64 = i32::MAX as i64;

/// A file of messages.
pub struct Messages {
    file: DataFile,
    decoder: StreamDecoder,
    /// The message that is being decoded.
    message: Buffer,
    schema: Option<SchemaRef>,
    has_footer: bool,
    ended: bool,
}

/// What ends a stream.
const END: [u8; 8] = [0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0];

impl Messages {
    /// Reads the schema.
    ///
    /// # Errors
    /// The file is damaged.
    pub fn open(mut file: DataFile, has_footer: bool) -> Result<Messages, StageError> {
        if has_footer {
            read(&mut file, 8)?;
            skip_padding(&mut file)?;
        }
        let mut messages = Messages {
            file,
            decoder: StreamDecoder::new(),
            message: Buffer::from_vec(Vec::<u8>::new()),
            schema: None,
            has_footer,
            ended: false,
        };
        messages.read_message()?;
        match messages.schema {
            Some(_) => Ok(messages),
            None => Err(messages.damaged("it does not start with a schema")),
        }
    }

    pub fn schema(&self) -> SchemaRef {
        self.schema.clone().unwrap_or_else(|| Schema::empty().into())
    }

    /// The next batch; `None` at the end.
    pub fn next(&mut self) -> Result<Option<RecordBatch>, StageError> {
        loop {
            let decoded = guarded(|| self.decoder.decode(&mut self.message));
            let decoded = decoded.and_then(|it| it.map_err(|error| error.to_string()));
            let batch = decoded.map_err(|problem| self.damaged(&problem))?;
            if batch.is_some() || self.ended {
                return Ok(batch);
            }
            self.read_message()?;
        }
    }

    pub fn bytes(&self) -> (u64, u64) {
        self.file.bytes()
    }

    fn read_message(&mut self) -> Result<(), StageError> {
        let mut bytes = read(&mut self.file, 4)?;
        // A stream may end without a word, a file may not.
        if bytes.is_empty() && !self.has_footer {
            return self.end();
        }
        if bytes == CONTINUATION {
            bytes.extend(read(&mut self.file, 4)?);
        }
        let is_whole = bytes != CONTINUATION && matches!(bytes.len(), 4 | 8);
        let Some(length) = bytes.last_chunk::<4>().filter(|_| is_whole) else {
            return Err(self.damaged("it is cut off"));
        };
        let length = u32::from_le_bytes(*length) as usize;
        if length == 0 {
            return self.end();
        }
        if length > MOST_DESCRIBED {
            return Err(self.damaged("the length of a message is wrong"));
        }
        let start = bytes.len();
        bytes.extend(read(&mut self.file, length)?);
        let message = root_as_message(&bytes[start..]);
        let message = message.map_err(|error| self.damaged(&error.to_string()))?;
        let body_length = match message.bodyLength() {
            length @ 0..=MOST_BYTES => length as usize,
            length if length < 0 => return Err(self.damaged("the length of a message is wrong")),
            length => return Err(self.damaged(&too_large(length))),
        };
        let body = read(&mut self.file, body_length)?;
        if body.len() < body_length {
            return Err(self.damaged("it is cut off"));
        }
        check(&message, &body).map_err(|problem| self.damaged(&problem))?;
        if let Some(schema) = message.header_as_schema() {
            let schema = guarded(|| try_fb_to_schema(schema));
            let schema = schema.and_then(|it| it.map_err(|error| error.to_string()));
            self.schema = Some(schema.map_err(|problem| self.damaged(&problem))?.into());
        }
        bytes.extend(body);
        self.message = Buffer::from_vec(bytes);
        Ok(())
    }

    /// Checks what comes after the last message.
    fn end(&mut self) -> Result<(), StageError> {
        // The decoder decodes a message once it sees what comes after it.
        (self.message, self.ended) = (Buffer::from_slice_ref(END), true);
        let mut end = Vec::new();
        while self.has_footer {
            let part = read(&mut self.file, 1 << 16)?;
            if part.is_empty() {
                break;
            }
            end.extend(part);
            end.drain(..end.len().saturating_sub(6));
        }
        match self.has_footer && end != b"ARROW1" {
            true => Err(self.damaged("it is cut off")),
            false => Ok(()),
        }
    }

    fn damaged(&self, problem: &str) -> StageError {
        let problem = format!("not a whole Arrow file: {problem}");
        StageError::File { path: self.file.name().to_owned(), problem }
    }
}

/// The first message of a file may begin at a multiple of 64 bytes, as the writer of the Arrow project in
/// Rust has it. No message begins with a zero.
fn skip_padding(file: &mut DataFile) -> Result<(), StageError> {
    for _ in 8..64 {
        if file.fill()?.first() != Some(&0) {
            break;
        }
        file.consume(1);
    }
    Ok(())
}

/// As many bytes as there are, reserved as they come.
fn read(file: &mut DataFile, length: usize) -> Result<Vec<u8>, StageError> {
    let mut bytes = Vec::with_capacity(length.min(1 << 20));
    while bytes.len() < length {
        let part = file.fill()?;
        if part.is_empty() {
            break;
        }
        let count = part.len().min(length - bytes.len());
        bytes.extend_from_slice(&part[..count]);
        file.consume(count);
    }
    Ok(bytes)
}

/// Checks the lengths that buffers say they have when they are decompressed.
fn check(message: &Message, body: &[u8]) -> Result<(), String> {
    let batch = match message.header_type() {
        MessageHeader::RecordBatch => message.header_as_record_batch(),
        MessageHeader::DictionaryBatch => {
            message.header_as_dictionary_batch().and_then(|it| it.data())
        }
        _ => None,
    };
    let Some(batch) = batch.filter(|batch| batch.compression().is_some()) else { return Ok(()) };
    let mut sum = 0;
    for buffer in batch.buffers().into_iter().flatten().filter(|buffer| buffer.length() > 0) {
        let start = usize::try_from(buffer.offset()).unwrap_or(usize::MAX);
        let length = body.get(start..).and_then(|rest| rest.first_chunk::<8>());
        // -1: it is not compressed.
        match length.map(|bytes| i64::from_le_bytes(*bytes)) {
            Some(length @ -1..=MOST_BYTES) => sum += length.max(0),
            _ => return Err("the length of a compressed column is wrong".to_owned()),
        }
        if sum > MOST_BYTES {
            return Err(too_large(sum));
        }
    }
    Ok(())
}

fn too_large(bytes: i64) -> String {
    format!(
        "a batch of rows has {bytes} bytes, and at most {MOST_BYTES} are read: write smaller ones"
    )
}
