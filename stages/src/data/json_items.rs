//! Reads the items of one JSON list one after the other, in bounded memory.

use std::path::Path;

use crate::data::data_file::DataFile;
use crate::data::lines::{BEGINNING, LINE_LIMIT};
use crate::stage::error::StageError;

/// A file that holds one JSON list.
pub struct JsonItems {
    file: DataFile,
    item: Vec<u8>,
    too_long: bool,
    /// The number of the item, counted from 1; 0 before the first.
    number: u64,
    ended: bool,
}

impl JsonItems {
    pub fn of(file: DataFile) -> JsonItems {
        JsonItems { file, item: Vec::new(), too_long: false, number: 0, ended: false }
    }

    /// Advances to the next item; `false` after the last.
    ///
    /// # Errors
    /// What is between the items is not JSON, or the file ends within the list.
    pub fn advance(&mut self) -> Result<bool, StageError> {
        if self.ended {
            return Ok(false);
        }
        if self.number == 0 {
            self.expect(b'[', "a JSON list")?;
        }
        let next = self.next_visible()?;
        match (next, self.number) {
            (Some(b']'), _) => return self.end(),
            (Some(b','), number) if number > 0 => {
                self.file.consume(1);
                match self.next_visible()? {
                    Some(b']') => {
                        return Err(self.broken("a comma is followed by the end of the list"));
                    }
                    None => return Err(self.broken(CUT_OFF)),
                    Some(_) => {}
                }
            }
            (Some(_), 0) => {}
            (Some(_), _) => return Err(self.broken("expected a comma or the end of the list")),
            (None, _) => return Err(self.broken(CUT_OFF)),
        }
        self.number += 1;
        self.read_item()?;
        Ok(true)
    }

    /// The item as it is in the file, or the beginning of it if it is too long.
    pub fn item(&self) -> &[u8] {
        &self.item
    }

    pub fn is_too_long(&self) -> bool {
        self.too_long
    }

    /// The number of the item, counted from 1.
    pub fn number(&self) -> u64 {
        self.number
    }

    pub fn bytes(&self) -> (u64, u64) {
        self.file.bytes()
    }

    pub fn name(&self) -> &Path {
        self.file.name()
    }

    /// An error about the current item.
    pub fn error(&self, problem: String) -> StageError {
        StageError::Row { path: self.name().to_owned(), row: self.number, problem }
    }

    fn end(&mut self) -> Result<bool, StageError> {
        self.file.consume(1);
        if self.next_visible()?.is_some() {
            return Err(self.broken("expected the end of the file after the list"));
        }
        self.item.clear();
        self.ended = true;
        Ok(false)
    }

    /// An error about what follows the current item.
    fn broken(&self, problem: &str) -> StageError {
        let problem = match self.number {
            0 => format!("not a JSON list of rows: {problem}"),
            number => format!("not valid JSON after row {number}: {problem}"),
        };
        StageError::File { path: self.name().to_owned(), problem }
    }

    fn expect(&mut self, byte: u8, what: &str) -> Result<(), StageError> {
        match self.next_visible()? {
            Some(found) if found == byte => self.file.consume(1),
            _ => return Err(self.broken(&format!("expected {what}"))),
        }
        Ok(())
    }

    /// The next byte that is not white space; `None` at the end of the file.
    fn next_visible(&mut self) -> Result<Option<u8>, StageError> {
        loop {
            let bytes = self.file.fill()?;
            if bytes.is_empty() {
                return Ok(None);
            }
            let visible = bytes.iter().position(|byte| !byte.is_ascii_whitespace());
            let (found, skipped) = (visible.map(|at| bytes[at]), visible.unwrap_or(bytes.len()));
            self.file.consume(skipped);
            if found.is_some() {
                return Ok(found);
            }
        }
    }

    fn read_item(&mut self) -> Result<(), StageError> {
        self.item.clear();
        self.too_long = false;
        let mut end = ItemEnd::default();
        loop {
            let bytes = self.file.fill()?;
            if bytes.is_empty() && end.is_open() {
                let problem = format!("the file ends within row {}", self.number);
                return Err(StageError::File { path: self.name().to_owned(), problem });
            }
            let length = match bytes.is_empty() {
                true => Some(0),
                false => bytes.iter().enumerate().find_map(|(at, byte)| end.at(at, *byte)),
            };
            let part = &bytes[..length.unwrap_or(bytes.len())];
            self.too_long |= self.item.len() + part.len() > LINE_LIMIT;
            match self.too_long {
                true => self.item.truncate(BEGINNING),
                false => self.item.extend_from_slice(part),
            }
            let used = part.len();
            self.file.consume(used);
            if length.is_some() {
                break;
            }
        }
        self.item.truncate(self.item.trim_ascii_end().len());
        Ok(())
    }
}

const CUT_OFF: &str = "the file ends before the list does";

/// Finds the end of an item. What is within the item is checked when it is parsed.
#[derive(Default)]
struct ItemEnd {
    depth: u64,
    in_text: bool,
    escaped: bool,
}

impl ItemEnd {
    fn is_open(&self) -> bool {
        self.in_text || self.depth > 0
    }

    /// The end of the item if it ends before or with this byte, which is at `at`.
    fn at(&mut self, at: usize, byte: u8) -> Option<usize> {
        if self.in_text {
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' => self.escaped = true,
                b'"' => self.in_text = false,
                _ => {}
            }
            return None;
        }
        match byte {
            b'"' => self.in_text = true,
            b'{' | b'[' => self.depth += 1,
            b',' | b'}' | b']' if self.depth == 0 => return Some(at),
            b'}' | b']' => {
                self.depth -= 1;
                return (self.depth == 0).then_some(at + 1);
            }
            _ => {}
        }
        None
    }
}
