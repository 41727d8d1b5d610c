//! Writes token files. [`token_file`](crate::data::token_file) describes them and reads them.

use std::collections::BTreeMap;
use std::path::Path;

use crate::data::task::Task;
use crate::data::tensors::{Spool, write_tensors};
use crate::data::token_file::{
    FORMAT, FORMAT_OF_TASKS, FORMAT_OF_WINDOWS, STRIDE, Sequence, TokenInfo,
};
use crate::data::token_labels::{Gold, LabelWriter};
use crate::stage::error::StageError;

/// Writes a token file row by row. The rows are kept in temporary files until the end, so that
/// memory does not grow with their number.
pub struct TokenWriter {
    ids: Spool<i32>,
    offsets: Spool<i64>,
    row_windows: Spool<i64>,
    types: Spool<u8>,
    labels: LabelWriter,
    id_bytes: Spool<u8>,
    id_offsets: Spool<i64>,
    longest: usize,
    has_types: bool,
}

impl TokenWriter {
    /// Creates a writer with temporary files in `folder`.
    pub fn new(folder: &Path) -> Result<TokenWriter, StageError> {
        let mut writer = TokenWriter {
            ids: Spool::new(folder)?,
            offsets: Spool::new(folder)?,
            row_windows: Spool::new(folder)?,
            types: Spool::new(folder)?,
            labels: LabelWriter::new(folder)?,
            id_bytes: Spool::new(folder)?,
            id_offsets: Spool::new(folder)?,
            longest: 0,
            has_types: false,
        };
        writer.offsets.extend(&[0])?;
        writer.row_windows.extend(&[0])?;
        writer.id_offsets.extend(&[0])?;
        Ok(writer)
    }

    /// Appends a row of one window.
    pub fn push(
        &mut self,
        sequence: &Sequence,
        label: impl Into<Gold>,
        id: &str,
    ) -> Result<(), StageError> {
        self.push_windows(std::slice::from_ref(sequence), label, id)
    }

    /// Appends a row of one window or more.
    pub fn push_windows(
        &mut self,
        windows: &[Sequence],
        label: impl Into<Gold>,
        id: &str,
    ) -> Result<(), StageError> {
        for Sequence { ids, types } in windows {
            // Ids are below the vocabulary size, so they fit into 32 bits.
            let ids: Vec<i32> = ids.iter().map(|id| *id as i32).collect();
            self.ids.extend(&ids)?;
            self.offsets.extend(&[self.ids.len() as i64])?;
            self.types.extend(types)?;
            self.has_types |= types.iter().any(|kind| *kind > 0);
            self.longest = self.longest.max(ids.len());
        }
        self.row_windows.extend(&[self.offsets.len() as i64 - 1])?;
        self.labels.push(&label.into())?;
        self.id_bytes.extend(id.as_bytes())?;
        self.id_offsets.extend(&[self.id_bytes.len() as i64])
    }

    /// Writes the file.
    pub fn finish(mut self, path: &Path, info: &TokenInfo) -> Result<(), StageError> {
        let label_names = serde_json::to_string(&info.label_names)
            .map_err(|source| StageError::Json { path: path.to_owned(), source })?;
        let mut metadata: BTreeMap<String, String> = [
            ("format", FORMAT.to_owned()),
            ("label_names", label_names),
            ("longest", self.longest.to_string()),
            ("max_length", info.max_length.to_string()),
            ("pad_id", info.pad_id.to_string()),
            ("vocab_size", info.vocab_size.to_string()),
        ]
        .map(|(key, value)| (key.to_owned(), value))
        .into();
        if let Some(digest) = &info.tokenizer {
            metadata.insert("tokenizer".to_owned(), digest.clone());
        }
        let task = self.labels.task();
        if task != Task::Single {
            metadata.insert("format".to_owned(), FORMAT_OF_TASKS.to_owned());
            metadata.insert("task".to_owned(), task.word().to_owned());
        }
        if let Some(stride) = info.stride {
            metadata.insert(STRIDE.to_owned(), stride.to_string());
        }
        let mut specs = vec![self.ids.spec("ids"), self.offsets.spec("offsets")];
        if self.row_windows.len() < self.offsets.len() {
            metadata.insert("format".to_owned(), FORMAT_OF_WINDOWS.to_owned());
            specs.push(self.row_windows.spec("row_windows"));
        }
        specs.extend(self.labels.specs());
        specs.extend([self.id_bytes.spec("id_bytes"), self.id_offsets.spec("id_offsets")]);
        if self.has_types {
            specs.push(self.types.spec("types"));
        }
        write_tensors(path, &metadata, specs, |spec, out| match spec.name.as_str() {
            "ids" => self.ids.copy_to(out),
            "offsets" => self.offsets.copy_to(out),
            "row_windows" => self.row_windows.copy_to(out),
            "types" => self.types.copy_to(out),
            "id_bytes" => self.id_bytes.copy_to(out),
            "id_offsets" => self.id_offsets.copy_to(out),
            name => self.labels.copy_to(name, out),
        })
    }
}
