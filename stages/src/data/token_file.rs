//! The token file, format `pipe-tokens-1`. `tokenize` writes it, `finetune` and `predict` map it
//! into memory.
//!
//! | tensor | type and shape | contents |
//! |---|---|---|
//! | `ids` | I32 `[tokens]` | all sequences one after the other, special tokens included |
//! | `offsets` | I64 `[rows + 1]` | where each sequence begins in `ids` |
//! | `types` | U8 `[tokens]` | token types; absent if all are 0 |
//! | `labels` | I32 `[rows]` | class index, -1 for none; other tasks: see [`token_labels`](crate::data::token_labels) |
//! | `id_bytes` | U8 `[bytes]` | the examples' ids in UTF-8, one after the other |
//! | `id_offsets` | I64 `[rows + 1]` | where each id begins in `id_bytes` |
//!
//! The metadata has `format`, `label_names` (a JSON list), `pad_id`, `vocab_size`, `longest`,
//! `max_length`, and `tokenizer` (the digest of the tokenizer; files of older versions lack it). Files of a task
//! other than `single` have the format `pipe-tokens-2` and the entry `task`. Rows are in the order of the input.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::data::target::Target;
use crate::data::task::Task;
use crate::data::tensors::{Element, Handle, Spool, TensorFile, write_tensors};
use crate::data::token_labels::{Gold, LabelTensors, LabelWriter, is_partition};
use crate::stage::error::StageError;

const FORMAT: &str = "pipe-tokens-1";
/// Of a file with the entry `task`, which programs that only know one label a text must not read.
const FORMAT_OF_TASKS: &str = "pipe-tokens-2";

/// The ids of a sequence with its special tokens, and the token type of each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sequence {
    pub ids: Vec<u32>,
    pub types: Vec<u8>,
}

impl Sequence {
    pub(crate) fn push(&mut self, ids: &[u32], kind: u8) {
        self.ids.extend_from_slice(ids);
        self.types.resize(self.ids.len(), kind);
    }
}

/// Writes a token file row by row. The rows are kept in temporary files until the end, so that
/// memory does not grow with their number.
pub struct TokenWriter {
    ids: Spool<i32>,
    offsets: Spool<i64>,
    types: Spool<u8>,
    labels: LabelWriter,
    id_bytes: Spool<u8>,
    id_offsets: Spool<i64>,
    longest: usize,
    has_types: bool,
}

/// The metadata of a token file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenInfo {
    /// Label names by class index.
    pub label_names: Vec<String>,
    /// The id that batches are padded with.
    pub pad_id: u32,
    /// Every id is below it.
    pub vocab_size: usize,
    /// The limit that sequences were truncated to, in tokens.
    pub max_length: usize,
    /// The digest of the tokenizer; `None` in a file of an older version.
    pub tokenizer: Option<String>,
}

impl TokenWriter {
    /// Creates a writer with temporary files in `folder`.
    pub fn new(folder: &Path) -> Result<TokenWriter, StageError> {
        let mut writer = TokenWriter {
            ids: Spool::new(folder)?,
            offsets: Spool::new(folder)?,
            types: Spool::new(folder)?,
            labels: LabelWriter::new(folder)?,
            id_bytes: Spool::new(folder)?,
            id_offsets: Spool::new(folder)?,
            longest: 0,
            has_types: false,
        };
        writer.offsets.extend(&[0])?;
        writer.id_offsets.extend(&[0])?;
        Ok(writer)
    }

    /// Appends a row.
    pub fn push(
        &mut self,
        sequence: &Sequence,
        label: impl Into<Gold>,
        id: &str,
    ) -> Result<(), StageError> {
        // Ids are below the vocabulary size, so they fit into 32 bits.
        let ids: Vec<i32> = sequence.ids.iter().map(|id| *id as i32).collect();
        self.ids.extend(&ids)?;
        self.offsets.extend(&[self.ids.len() as i64])?;
        self.types.extend(&sequence.types)?;
        self.has_types |= sequence.types.iter().any(|kind| *kind > 0);
        self.labels.push(&label.into())?;
        self.id_bytes.extend(id.as_bytes())?;
        self.id_offsets.extend(&[self.id_bytes.len() as i64])?;
        self.longest = self.longest.max(ids.len());
        Ok(())
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
        let mut specs = vec![self.ids.spec("ids"), self.offsets.spec("offsets")];
        specs.extend(self.labels.specs());
        specs.extend([self.id_bytes.spec("id_bytes"), self.id_offsets.spec("id_offsets")]);
        if self.has_types {
            specs.push(self.types.spec("types"));
        }
        write_tensors(path, &metadata, specs, |spec, out| match spec.name.as_str() {
            "ids" => self.ids.copy_to(out),
            "offsets" => self.offsets.copy_to(out),
            "types" => self.types.copy_to(out),
            "id_bytes" => self.id_bytes.copy_to(out),
            "id_offsets" => self.id_offsets.copy_to(out),
            name => self.labels.copy_to(name, out),
        })
    }
}

/// A token file in memory. Opening it checks all of its contents; the accessors panic only for a
/// row that is out of range.
pub struct TokenFile {
    file: TensorFile,
    ids: Handle<i32>,
    offsets: Handle<i64>,
    types: Option<Handle<u8>>,
    labels: LabelTensors,
    task: Task,
    id_bytes: Handle<u8>,
    id_offsets: Handle<i64>,
    rows: usize,
    longest: usize,
    info: TokenInfo,
}

impl TokenFile {
    /// Maps a token file and checks it.
    ///
    /// # Errors
    /// The file has another format, lacks a tensor or a metadata entry, or is inconsistent: offsets
    /// that are not ascending or beyond their tensor, token ids beyond the vocabulary, labels
    /// without a name, names that occur twice, example ids that are not UTF-8.
    pub fn open(path: &Path) -> Result<TokenFile, StageError> {
        let file = TensorFile::open(path)?;
        let entry = |key: &str| {
            let problem = || file.problem(format!("metadata `{key}` is missing"));
            file.metadata(key).ok_or_else(problem)
        };
        let format = file.metadata("format").unwrap_or("unknown");
        let task = file.metadata("task").and_then(Task::of_word);
        let task = match (format, task) {
            (FORMAT, _) => Some(Task::Single),
            (FORMAT_OF_TASKS, task) => task,
            _ => None,
        };
        let Some(task) = task else {
            let problem = format!("format is `{format}`, expected `{FORMAT}`: not a token file");
            return Err(file.problem(problem));
        };
        let number = |key: &str| {
            let text = entry(key)?;
            let problem = |_| file.problem(format!("metadata `{key}` is `{text}`, not a number"));
            text.parse::<usize>().map_err(problem)
        };
        let label_names: Vec<String> = serde_json::from_str(entry("label_names")?)
            .map_err(|source| StageError::Json { path: path.to_owned(), source })?;
        let pad_id = u32::try_from(number("pad_id")?)
            .map_err(|_| file.problem("metadata `pad_id` is out of range".to_owned()))?;
        let info = TokenInfo {
            label_names,
            pad_id,
            vocab_size: number("vocab_size")?,
            max_length: number("max_length")?,
            tokenizer: file.metadata("tokenizer").map(str::to_owned),
        };
        let offsets = file.handle::<i64>("offsets", None)?;
        let rows = file.slice(&offsets).len().saturating_sub(1);
        let labels = LabelTensors::open(&file, task, rows, info.label_names.len())?;
        let ids = file.handle::<i32>("ids", None)?;
        let tokens = file.slice(&ids).len();
        let types = match file.info("types") {
            Some(_) => Some(file.handle::<u8>("types", Some(&[tokens]))?),
            None => None,
        };
        let tokens = TokenFile {
            offsets,
            id_offsets: file.handle("id_offsets", Some(&[rows + 1]))?,
            id_bytes: file.handle("id_bytes", None)?,
            longest: number("longest")?,
            file,
            ids,
            types,
            labels,
            task,
            rows,
            info,
        };
        tokens.check()?;
        Ok(tokens)
    }

    fn check(&self) -> Result<(), StageError> {
        let problem = |problem: &str| Err(self.file.problem(problem.to_owned()));
        if !is_partition(self.all(&self.offsets), self.all(&self.ids).len()) {
            return problem("tensor `offsets` does not divide `ids` into sequences");
        }
        if !is_partition(self.all(&self.id_offsets), self.all(&self.id_bytes).len()) {
            return problem("tensor `id_offsets` does not divide `id_bytes` into ids");
        }
        let vocabulary = 0..i64::try_from(self.info.vocab_size).unwrap_or(i64::MAX);
        if !self.all(&self.ids).iter().all(|id| vocabulary.contains(&i64::from(*id))) {
            return problem("tensor `ids` has ids beyond the vocabulary");
        }
        let classes = self.info.label_names.len();
        let names: BTreeSet<&String> = self.info.label_names.iter().collect();
        if names.len() != classes {
            return problem("metadata `label_names` has a name twice");
        }
        let longest = self.all(&self.offsets).windows(2).map(|pair| pair[1] - pair[0]).max();
        if longest.unwrap_or(0) != self.longest as i64 {
            return problem("metadata `longest` is not the length of the longest sequence");
        }
        let id_bytes = self.all(&self.id_bytes);
        let bounds = self.all(&self.id_offsets).windows(2);
        let mut ids = bounds.map(|pair| &id_bytes[pair[0] as usize..pair[1] as usize]);
        if !ids.all(|id| std::str::from_utf8(id).is_ok()) {
            return problem("tensor `id_bytes` has ids that are not UTF-8");
        }
        Ok(())
    }

    fn all<T: Element>(&self, handle: &Handle<T>) -> &[T] {
        self.file.slice(handle)
    }

    fn part<T: Element>(&self, handle: &Handle<T>, offsets: &Handle<i64>, row: usize) -> &[T] {
        let offsets = self.all(offsets);
        &self.all(handle)[offsets[row] as usize..offsets[row + 1] as usize]
    }

    /// The number of examples.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The number of tokens of all examples together.
    pub fn tokens(&self) -> usize {
        self.all(&self.ids).len()
    }

    /// The token ids of an example, special tokens included.
    pub fn ids(&self, row: usize) -> &[i32] {
        self.part(&self.ids, &self.offsets, row)
    }

    /// The number of tokens of an example.
    pub fn length(&self, row: usize) -> usize {
        self.ids(row).len()
    }

    /// The token types of an example; `None` if all types in the file are 0.
    pub fn types(&self, row: usize) -> Option<&[u8]> {
        self.types.as_ref().map(|types| self.part(types, &self.offsets, row))
    }

    /// The class index of an example, if it has one label.
    pub fn label(&self, row: usize) -> Option<usize> {
        match self.gold(row) {
            Gold::Class(class) => Some(class),
            Gold::None | Gold::Classes(_) | Gold::Number(_) => None,
        }
    }

    /// The label of an example by class index.
    pub fn gold(&self, row: usize) -> Gold {
        self.labels.gold(&self.file, row)
    }

    /// The label of an example by name, if it is known.
    pub fn target(&self, row: usize) -> Option<Target> {
        self.gold(row).target(&self.info.label_names)
    }

    /// The task of the labels; [`Task::Single`] if there are none.
    pub fn task(&self) -> Task {
        self.task
    }

    /// The id of an example.
    pub fn id(&self, row: usize) -> &str {
        // Checked when the file was opened.
        std::str::from_utf8(self.part(&self.id_bytes, &self.id_offsets, row)).unwrap_or_default()
    }

    /// Label names by class index.
    pub fn label_names(&self) -> &[String] {
        &self.info.label_names
    }

    /// The id that batches are padded with.
    pub fn pad_id(&self) -> u32 {
        self.info.pad_id
    }

    /// The size of the vocabulary; every id is below it.
    pub fn vocab_size(&self) -> usize {
        self.info.vocab_size
    }

    /// The length of the longest example in tokens.
    pub fn longest(&self) -> usize {
        self.longest
    }

    /// The limit that examples were truncated to, in tokens.
    pub fn max_length(&self) -> usize {
        self.info.max_length
    }

    /// The digest of the tokenizer; `None` in a file of an older version.
    pub fn tokenizer(&self) -> Option<&str> {
        self.info.tokenizer.as_deref()
    }
}
