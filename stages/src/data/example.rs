//! A row of the data: what `ingest` writes, `split` divides and `tokenize` reads.

use serde::{Deserialize, Serialize};

/// One text to classify. A line of JSON in this order of fields.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Example {
    /// Unique within its file.
    pub id: String,
    /// Absent where the label is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    pub text: String,
    /// The turns of the conversation before `text`, the oldest first.
    #[serde(default)]
    pub context: Vec<String>,
    /// The line of the source that the row begins on, counted from 1; 0 where it is not known.
    #[serde(default)]
    pub line: u64,
}

/// Stands for a text and the number of its label in 16 bytes: equal texts share all but the
/// lowest 16 bits. Texts are told apart by 112 bits of BLAKE3; two different ones are taken for
/// equal with a probability below 1e-15 even among a billion.
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

    /// The text's part alone.
    pub fn text(self) -> u128 {
        self.0 >> 16
    }

    pub fn label(self) -> u16 {
        self.0 as u16
    }
}
