//! Tokenizes one input: reads its examples in batches, encodes a batch on all cores, and writes the
//! rows in their order.

use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::compose::{Composed, Composer};
use super::labels::LabelClasses;
use super::report::TokenCounts;
use crate::data::example::Example;
use crate::data::lines::{LineBatch, LineReader, parse_json};
use crate::data::target::Target;
use crate::data::task::CommonTask;
use crate::data::token_file::{Sequence, TokenInfo};
use crate::data::token_labels::Gold;
use crate::data::token_writer::TokenWriter;
use crate::model::config::ModelConfig;
use crate::stage::Context;
use crate::stage::error::StageError;
use crate::stage::progress::Progress;
use crate::text::TextTokenizer;

/// Turns examples into rows of a token file; the same for all inputs.
pub struct ExampleEncoder<'a> {
    pub tokenizer: &'a TextTokenizer,
    pub composer: &'a Composer,
    pub labels: &'a LabelClasses,
    pub info: TokenInfo,
    pub config: &'a ModelConfig,
}

/// A row of the token file.
struct EncodedExample {
    id: String,
    line: u64,
    label: Option<Target>,
    gold: Gold,
    composed: Composed,
}

impl ExampleEncoder<'_> {
    /// Writes the token file of an input and returns its counts. The result does not depend on the
    /// number of threads.
    ///
    /// # Errors
    /// The first line that is malformed, has an unknown label, or whose tokens do not fit the model.
    pub fn encode_file(
        &self,
        context: &Context,
        input: &Path,
        output: &Path,
    ) -> Result<TokenCounts, StageError> {
        let mut lines = LineReader::open(input)?;
        let folder = output.parent().map_or_else(PathBuf::new, Path::to_owned);
        let mut writer = TokenWriter::new(&folder)?;
        let windows = self.composer.stride.map(|_| 0);
        let mut counts = TokenCounts { windows, ..TokenCounts::default() };
        let mut batch = LineBatch::default();
        let mut task = CommonTask::default();
        let mut progress = Progress::new(context, "bytes");
        while lines.next_batch(&mut batch)? {
            let encoded: Vec<Result<EncodedExample, StageError>> = (0..batch.len())
                .into_par_iter()
                .map(|index| self.encode(input, batch.line(index)))
                .collect();
            for row in encoded {
                let EncodedExample { id, line, label, gold, composed } = row?;
                if let Some(label) = &label {
                    task.add(label.task()).map_err(|problem| StageError::Line {
                        path: input.to_owned(),
                        line,
                        problem,
                    })?;
                }
                counts.add(&composed, &gold, self.tokenizer.special_ids().unk);
                writer.push_windows(&composed.windows, gold, &id)?;
            }
            let (done, total) = lines.bytes();
            progress.update_with(done, total, || [("rows", counts.rows as f64)]);
        }
        writer.finish(output, &self.info)?;
        Ok(counts)
    }

    fn encode(
        &self,
        path: &Path,
        (line, bytes): (u64, &[u8]),
    ) -> Result<EncodedExample, StageError> {
        let problem = |problem| StageError::Line { path: path.to_owned(), line, problem };
        let example: Example = parse_json(bytes).map_err(problem)?;
        let gold = self.labels.gold(example.label.as_ref()).map_err(problem)?;
        let mut composed = self.composer.compose(self.tokenizer, &example)?;
        for Sequence { ids, types } in &mut composed.windows {
            self.check_vocabulary(ids).map_err(problem)?;
            if self.config.type_vocab_size <= 1 {
                types.fill(0);
            }
            self.config.check_sequence(ids, Some(types)).map_err(problem)?;
        }
        Ok(EncodedExample { id: example.id, line, label: example.label, gold, composed })
    }

    fn check_vocabulary(&self, ids: &[u32]) -> Result<(), String> {
        let vocab_size = self.info.vocab_size;
        let Some(id) = ids.iter().find(|id| **id as usize >= vocab_size) else { return Ok(()) };
        let token = self.tokenizer.token_text(*id).unwrap_or_default();
        Err(format!(
            "the tokenizer gives id {id} (`{token}`), but the model's `vocab_size` is {vocab_size}"
        ))
    }
}
