//! The keys of `config.json` about texts that do not fit into the model, which only this program
//! knows: the windows that a classifier was trained on.

use serde_json::{Map, Value, json};

use super::fields::Fields;
use crate::stage::choice::choice;
use crate::stage::error::StageError;

const LENGTH: &str = "window_length";
const STRIDE: &str = "window_stride";
const POOLING: &str = "window_pooling";

choice! {
    /// How the logits of a text's windows become those of the text.
    pub enum WindowPooling {
        /// The mean over the windows.
        Mean = "mean",
        /// The largest logit of each class.
        Max = "max",
    }
}

/// How long texts are divided into windows, and their logits pooled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TextWindows {
    /// In tokens, special tokens included.
    pub length: usize,
    /// How many tokens neighbouring windows share.
    pub stride: usize,
    pub pooling: WindowPooling,
}

impl TextWindows {
    /// `None` if the model was not trained on windows.
    pub(super) fn read(fields: &Fields) -> Result<Option<TextWindows>, StageError> {
        if fields.present(LENGTH).is_none() {
            return Ok(None);
        }
        let (length, stride) = (fields.count(LENGTH, 0)?, fields.count(STRIDE, 0)?);
        if stride >= length {
            return Err(fields.unfit(STRIDE, &stride.into(), "less than `window_length`"));
        }
        let pooling = match fields.text(POOLING)? {
            None | Some("mean") => WindowPooling::Mean,
            Some("max") => WindowPooling::Max,
            Some(other) => return Err(fields.unfit(POOLING, &other.into(), "mean or max")),
        };
        Ok(Some(TextWindows { length, stride, pooling }))
    }

    /// Writes the keys, or removes them.
    pub fn write(windows: Option<TextWindows>, raw: &mut Map<String, Value>) {
        for key in [LENGTH, STRIDE, POOLING] {
            raw.remove(key);
        }
        let Some(TextWindows { length, stride, pooling }) = windows else { return };
        raw.insert(LENGTH.to_owned(), json!(length));
        raw.insert(STRIDE.to_owned(), json!(stride));
        if pooling == WindowPooling::Max {
            raw.insert(POOLING.to_owned(), json!("max"));
        }
    }
}
