//! An example: the row type that `ingest` writes and every later stage reads.

use serde::{Deserialize, Serialize};

use crate::data::target::Target;

/// One text to classify. In a file it is one line of JSON with its fields in this order.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Example {
    /// Unique within its file. Empty only before `ingest` has assigned an id.
    pub id: String,
    /// Absent if the label is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<Target>,
    pub text: String,
    /// The turns of the conversation before `text`, oldest first.
    #[serde(default)]
    pub context: Vec<String>,
    /// The line of the source file on which the row begins, counted from 1; 0 if unknown.
    #[serde(default)]
    pub line: u64,
    /// The name of the source file, if the input had several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
}

impl Example {
    /// An example that consists of a text alone.
    pub fn of_text(text: &str) -> Example {
        Example { text: text.to_owned(), ..Example::default() }
    }

    /// The label, for a stage that only works where a text has one; `None` if it is not known.
    ///
    /// # Errors
    /// It is a list of labels or a number: the problem in words.
    pub fn one_label(&self) -> Result<Option<&str>, String> {
        match &self.label {
            None => Ok(None),
            Some(Target::Label(label)) => Ok(Some(label)),
            Some(other) => Err(format!(
                "the label is {}, and this stage only knows one label a text",
                other.task().labels_in_words()
            )),
        }
    }
}

/// Identifies a text and the number of its label in 16 bytes: the upper 112 bits are a BLAKE3
/// hash of the text, the lower 16 bits the label. The probability that two different texts get
/// the same hash is below 1e-15 even among a billion texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TextKey(u128);

impl TextKey {
    pub fn new(text: &str, label: u16) -> TextKey {
        let hash = blake3::hash(text.as_bytes());
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&hash.as_bytes()[..16]);
        TextKey(u128::from_le_bytes(bytes) & !0xffff | u128::from(label))
    }

    pub fn same_text(self, other: TextKey) -> bool {
        self.text() == other.text()
    }

    /// The hash of the text, without the label.
    pub fn text(self) -> u128 {
        self.0 >> 16
    }

    pub fn label(self) -> u16 {
        self.0 as u16
    }
}
