//! The token file, format `pipe-tokens-1`. `tokenize` writes it, `finetune` and `predict` map it
//! into memory. A row is an example. Its tokens are one sequence, or several windows of a text that
//! does not fit into one.
//!
//! | tensor | type and shape | contents |
//! |---|---|---|
//! | `ids` | I32 `[tokens]` | all windows one after the other, special tokens included |
//! | `offsets` | I64 `[windows + 1]` | where each window begins in `ids` |
//! | `row_windows` | I64 `[rows + 1]` | the first window of each row; absent if each has one |
//! | `types` | U8 `[tokens]` | token types; absent if all are 0 |
//! | `labels` | I32 `[rows]` | class index, -1 for none; other tasks: see [`token_labels`](crate::data::token_labels) |
//! | `id_bytes` | U8 `[bytes]` | the examples' ids in UTF-8, one after the other |
//! | `id_offsets` | I64 `[rows + 1]` | where each id begins in `id_bytes` |
//!
//! The metadata has `format`, `label_names` (a JSON list), `pad_id`, `vocab_size`, `longest`,
//! `max_length`, `tokenizer` (the digest of the tokenizer; files of older versions lack it), and
//! `window_stride` if long texts are divided into windows. Files of a task other than `single` have
//! the format `pipe-tokens-2` and the entry `task`, those with `row_windows` have the format
//! `pipe-tokens-3`. Rows are in the order of the input.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::Path;

use crate::data::target::Target;
use crate::data::task::Task;
use crate::data::tensors::{Element, Handle, TensorFile};
use crate::data::token_labels::{Gold, LabelTensors, is_partition};
use crate::stage::error::StageError;

pub(super) const FORMAT: &str = "pipe-tokens-1";
/// Of a file with the entry `task`, which programs that only know one label a text must not read.
pub(super) const FORMAT_OF_TASKS: &str = "pipe-tokens-2";
/// Of a file in which a row has several windows. It has the entry `task` only where that is not
/// `single`.
pub(super) const FORMAT_OF_WINDOWS: &str = "pipe-tokens-3";
pub(super) const STRIDE: &str = "window_stride";

/// How many tokens are read between two calls of [`TokenFile::let_go`].
pub const LET_GO_AFTER: usize = 4 << 20;

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
    /// How many tokens neighbouring windows share; `None` if long texts are truncated.
    pub stride: Option<usize>,
    /// The digest of the tokenizer; `None` in a file of an older version.
    pub tokenizer: Option<String>,
}

/// A token file in memory. Opening it checks all of its contents; the accessors panic only for a
/// row that is out of range.
pub struct TokenFile {
    file: TensorFile,
    ids: Handle<i32>,
    offsets: Handle<i64>,
    /// `None` if each row has one window.
    row_windows: Option<Handle<i64>>,
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
        let task = file.metadata("task").map(Task::of_word);
        let task = match (format, task) {
            (FORMAT, _) | (FORMAT_OF_WINDOWS, None) => Some(Task::Single),
            (FORMAT_OF_TASKS | FORMAT_OF_WINDOWS, Some(task)) => task,
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
            stride: file.metadata(STRIDE).map(|_| number(STRIDE)).transpose()?,
            tokenizer: file.metadata("tokenizer").map(str::to_owned),
        };
        let offsets = file.handle::<i64>("offsets", None)?;
        let row_windows = match format {
            FORMAT_OF_WINDOWS => Some(file.handle::<i64>("row_windows", None)?),
            _ => None,
        };
        let rows = file.slice(row_windows.as_ref().unwrap_or(&offsets)).len().saturating_sub(1);
        let labels = LabelTensors::open(&file, task, rows, info.label_names.len())?;
        let ids = file.handle::<i32>("ids", None)?;
        let tokens = file.slice(&ids).len();
        let types = match file.info("types") {
            Some(_) => Some(file.handle::<u8>("types", Some(&[tokens]))?),
            None => None,
        };
        let tokens = TokenFile {
            offsets,
            row_windows,
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
        if let Some(row_windows) = &self.row_windows {
            let firsts = self.all(row_windows);
            let has_windows = firsts.windows(2).all(|pair| pair[0] < pair[1]);
            if !has_windows || !is_partition(firsts, self.windows()) {
                return problem("tensor `row_windows` does not divide the windows into rows");
            }
        }
        let vocabulary = 0..i64::try_from(self.info.vocab_size).unwrap_or(i64::MAX);
        for ids in self.all(&self.ids).chunks(LET_GO_AFTER) {
            if !ids.iter().all(|id| vocabulary.contains(&i64::from(*id))) {
                return problem("tensor `ids` has ids beyond the vocabulary");
            }
            self.let_go();
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

    /// Lets go of what was read of a large file so far. Call it now and then when reading all of it,
    /// for instance after [`LET_GO_AFTER`] tokens.
    pub fn let_go(&self) {
        self.file.let_go();
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

    /// The number of windows of all examples together.
    pub fn windows(&self) -> usize {
        self.all(&self.offsets).len() - 1
    }

    /// The windows of an example, of which there is at least one.
    pub fn windows_of(&self, row: usize) -> Range<usize> {
        match &self.row_windows {
            Some(firsts) => self.all(firsts)[row] as usize..self.all(firsts)[row + 1] as usize,
            None => row..row + 1,
        }
    }

    /// The example that a window is of.
    pub fn row_of(&self, window: usize) -> usize {
        let Some(firsts) = &self.row_windows else { return window };
        self.all(firsts).partition_point(|first| *first <= window as i64) - 1
    }

    /// Whether an example has more than one window.
    pub fn has_windows(&self) -> bool {
        self.row_windows.is_some()
    }

    /// The number of tokens of all windows together.
    pub fn tokens(&self) -> usize {
        self.all(&self.ids).len()
    }

    /// The token ids of a window, special tokens included.
    pub fn ids(&self, window: usize) -> &[i32] {
        self.part(&self.ids, &self.offsets, window)
    }

    /// The number of tokens of a window.
    pub fn length(&self, window: usize) -> usize {
        self.ids(window).len()
    }

    /// The token types of a window; `None` if all types in the file are 0.
    pub fn types(&self, window: usize) -> Option<&[u8]> {
        self.types.as_ref().map(|types| self.part(types, &self.offsets, window))
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

    /// The length of the longest window in tokens.
    pub fn longest(&self) -> usize {
        self.longest
    }

    /// The limit that windows fit into, in tokens.
    pub fn max_length(&self) -> usize {
        self.info.max_length
    }

    /// How many tokens neighbouring windows share; `None` if long examples were truncated.
    pub fn stride(&self) -> Option<usize> {
        self.info.stride
    }

    /// The digest of the tokenizer; `None` in a file of an older version.
    pub fn tokenizer(&self) -> Option<&str> {
        self.info.tokenizer.as_deref()
    }
}
