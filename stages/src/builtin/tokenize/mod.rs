//! The stage `tokenize`: examples to token ids, with the tokenizer of the model that will read
//! them. Between `split` and `finetune` or `predict`.

mod compose;
mod labels;
mod report;
mod rows;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

pub(crate) use compose::Composer;
pub(crate) use rows::Row;

use crate::data::token_file::{TokenInfo, TokenWriter};
use crate::model::config::ModelConfig;
use crate::stage::error::StageError;
use crate::stage::event::Event;
use crate::stage::params::{Default, ParamKind, ParamSpec, Params};
use crate::stage::{CheckError, Context, InputSpec, Kind, OutputSpec, Stage};
use crate::text::{TextTokenizer, TweetNormalizer};
use compose::{Composed, Mode, Side};
use labels::Labels;
use report::{Counts, Report};
use rows::{Batch, Rows, parse};

/// The inputs of examples, in the order in which they are tokenized.
const EXAMPLES: [&str; 3] = ["train", "valid", "test"];
/// Rows between two progress events.
const PROGRESS_ROWS: u64 = 1 << 15;

/// The stage.
pub struct Tokenize;

impl Stage for Tokenize {
    fn name(&self) -> &'static str {
        "tokenize"
    }

    fn version(&self) -> u32 {
        2
    }

    fn summary(&self) -> &'static str {
        "turns examples into token ids with the model's own tokenizer"
    }

    fn inputs(&self) -> &'static [InputSpec] {
        const INPUTS: &[InputSpec] = &[
            InputSpec::required(
                "model",
                Kind::Folder,
                "the model's folder, for its tokenizer and `config.json`",
            ),
            InputSpec::optional(
                "train",
                Kind::File,
                "training examples, JSONL as `ingest` or `split` writes it",
            ),
            InputSpec::optional("valid", Kind::File, "validation examples"),
            InputSpec::optional("test", Kind::File, "test examples"),
        ];
        INPUTS
    }

    fn outputs(&self) -> &'static [OutputSpec] {
        const fn tokens(name: &'static str, file: &'static str) -> OutputSpec {
            let doc = "token ids, offsets and labels";
            OutputSpec::new(name, file, Kind::File, doc).given(name)
        }
        const OUTPUTS: &[OutputSpec] = &[
            tokens("train", "train.safetensors"),
            tokens("valid", "valid.safetensors"),
            tokens("test", "test.safetensors"),
            OutputSpec::new(
                "report",
                "report.json",
                Kind::File,
                "lengths, truncation and unknown tokens of each input",
            ),
        ];
        OUTPUTS
    }

    fn params(&self) -> &'static [ParamSpec] {
        PARAMS
    }

    fn headline(&self) -> &'static [&'static str] {
        &["train_rows", "train_tokens", "train_longest", "valid_rows", "test_rows"]
    }

    fn check(&self, params: &Params, wired: &[&str]) -> Result<(), CheckError> {
        if !EXAMPLES.iter().any(|name| wired.contains(name)) {
            let message = "give at least one of the inputs `train`, `valid` and `test`".to_owned();
            return Err(CheckError { name: Some("train"), message });
        }
        let mut labels = params.texts("labels");
        labels.sort();
        if let Some(twice) = labels.windows(2).find(|pair| pair[0] == pair[1]) {
            let message = format!("label `{}` is listed twice", twice[0]);
            return Err(CheckError { name: Some("labels"), message });
        }
        Ok(())
    }

    fn run(&self, context: &Context) -> Result<(), StageError> {
        run(context)
    }
}

const PARAMS: &[ParamSpec] = &[
    ParamSpec::new(
        "context",
        ParamKind::WordOrInt { words: &["all"], min: 0, max: i64::MAX },
        Default::Int(0),
        "how many of the last turns of context go with the response",
    ),
    ParamSpec::new(
        "context_mode",
        ParamKind::Choice(&["pair", "joined"]),
        Default::Text("pair"),
        "context and response as two segments, or as one text",
    ),
    ParamSpec::new(
        "turn_separator",
        ParamKind::Text,
        Default::Text(" "),
        "stands between turns; `sep` for the tokenizer's own separator token. Any other text \
              is taken as it is, spaces included: ` / `, or a special token such as `</s>`",
    ),
    ParamSpec::new(
        "response",
        ParamKind::Choice(&["last", "first"]),
        Default::Text("last"),
        "whether the response comes after its context or before it; turns keep their order",
    ),
    ParamSpec::new(
        "partial_turn",
        ParamKind::Bool,
        Default::Bool(false),
        "when context is too long, turns are dropped whole, the oldest first; whether the \
              last one dropped keeps as much of its end as fits",
    ),
    ParamSpec::new(
        "max_length",
        ParamKind::WordOrInt { words: &["auto"], min: 3, max: i64::MAX },
        Default::Text("auto"),
        "longest sequence in tokens, special tokens included; auto: the model's limit",
    ),
    ParamSpec::new(
        "truncate",
        ParamKind::Choice(&["right", "left"]),
        Default::Text("right"),
        "the side that loses tokens of a text that does not fit by itself: the newest turn \
              without its older ones, or at last the response",
    ),
    ParamSpec::new(
        "labels",
        ParamKind::TextList,
        Default::TextList(&[]),
        "label names in the order of their class index; empty: those of `train`, sorted",
    ),
    ParamSpec::new(
        "normalize_tweets",
        ParamKind::Bool,
        Default::Bool(false),
        "normalise as for BERTweet: @USER, HTTPURL, emoji as words",
    ),
];

/// One input of examples and where its tokens go.
struct Examples<'a> {
    name: &'static str,
    input: &'a Path,
    output: &'a Path,
}

fn run(context: &Context) -> Result<(), StageError> {
    let params = context.params();
    let folder = context.input("model")?;
    let config = ModelConfig::read(folder)?;
    let tokenizer = TextTokenizer::open(folder, &config)?;
    let mut examples = Vec::new();
    for name in EXAMPLES {
        if let Some(input) = context.optional_input(name) {
            examples.push(Examples { name, input, output: context.output(name)? });
        }
    }
    if examples.is_empty() {
        return Err(StageError::NoSuchInput { name: "train" });
    }
    if tokenizer.asks_for_normalization() && !params.bool("normalize_tweets") {
        let message = "`tokenizer_config.json` asks for tweet normalisation; \
                       set `normalize_tweets: true` to apply it";
        context.emit(Event::Note { message: message.to_owned() });
    }
    let composer = composer(params, &config, &tokenizer)?;
    let inputs: Vec<&Path> = examples.iter().map(|examples| examples.input).collect();
    let labels = Labels::new(params.texts("labels"), &inputs)?;
    let info = TokenInfo {
        label_names: labels.names().to_vec(),
        pad_id: config.pad_token_id as u32,
        vocab_size: config.vocab_size,
        max_length: composer.max_length,
    };

    let job = Job {
        context,
        tokenizer: &tokenizer,
        composer: &composer,
        labels: &labels,
        info,
        types: config.type_vocab_size > 1,
    };
    let mut counts = BTreeMap::new();
    for examples in &examples {
        counts.insert(examples.name, job.tokenize(examples)?);
    }
    let values = counts.iter().flat_map(|(name, counts)| counts.metrics(name)).collect();
    context.emit(Event::Metrics { step: None, values });
    let report = Report {
        labels: labels.names(),
        max_length: composer.max_length,
        vocab_size: tokenizer.vocab_size(),
        inputs: counts,
    };
    write_report(context.output("report")?, &report)
}

/// How the parameters say that examples become sequences of this model.
pub(crate) fn composer(
    params: &Params,
    config: &ModelConfig,
    tokenizer: &TextTokenizer,
) -> Result<Composer, StageError> {
    let limit = config.max_tokens();
    let problem = |problem: String| StageError::Param { name: "max_length", problem };
    let max_length = match params.optional_int("max_length") {
        Some(length) => usize::try_from(length).unwrap_or(usize::MAX),
        None => limit,
    };
    if max_length > limit {
        return Err(problem(format!("is {max_length}, the model takes {limit} tokens at most")));
    }
    let specials = tokenizer.layout().single_specials();
    if max_length <= specials {
        let message = format!("is {max_length}, the model's special tokens alone are {specials}");
        return Err(problem(message));
    }
    let turns = params.optional_int("context");
    Ok(Composer {
        turns: turns.map(|turns| usize::try_from(turns).unwrap_or(usize::MAX)),
        mode: if params.text("context_mode") == "pair" { Mode::Pair } else { Mode::Joined },
        response_first: params.text("response") == "first",
        separator: separator(params.text("turn_separator"), tokenizer)?,
        partial_turn: params.bool("partial_turn"),
        max_length,
        side: if params.text("truncate") == "left" { Side::Left } else { Side::Right },
        normalizer: params.bool("normalize_tweets").then(TweetNormalizer::new),
    })
}

/// The text between turns: `sep` stands for the tokenizer's separator token.
fn separator(given: &str, tokenizer: &TextTokenizer) -> Result<String, StageError> {
    if given != "sep" {
        return Ok(given.to_owned());
    }
    let token = tokenizer.special_ids().sep.and_then(|id| tokenizer.token_text(id));
    token.ok_or_else(|| StageError::Param {
        name: "turn_separator",
        problem: "is `sep`, but the tokenizer has no separator token".to_owned(),
    })
}

/// What is the same for every input.
struct Job<'a> {
    context: &'a Context<'a>,
    tokenizer: &'a TextTokenizer,
    composer: &'a Composer,
    labels: &'a Labels,
    info: TokenInfo,
    /// Whether the model looks at token types.
    types: bool,
}

/// A row ready to be written.
struct Encoded<'a> {
    composed: Composed,
    label: Option<usize>,
    id: std::borrow::Cow<'a, str>,
}

impl Job<'_> {
    /// Batches are encoded on all cores and written in their order, so that the number of
    /// threads shows nowhere. The first faulty line is the one that is reported.
    fn tokenize(&self, examples: &Examples) -> Result<Counts, StageError> {
        let mut rows = Rows::open(examples.input)?;
        let size =
            fs::metadata(examples.input).map_err(StageError::io("reading", examples.input))?;
        let folder = examples.output.parent().map_or_else(PathBuf::new, Path::to_owned);
        let mut writer = TokenWriter::new(&folder)?;
        let mut counts = Counts::default();
        let mut batch = Batch::default();
        let mut next_progress = PROGRESS_ROWS;
        while rows.next_batch(&mut batch)? {
            let encoded: Vec<Result<Encoded, StageError>> = (0..batch.len())
                .into_par_iter()
                .map(|index| self.encode(examples.input, batch.line(index)))
                .collect();
            for row in encoded {
                let Encoded { composed, label, id } = row?;
                writer.push(&composed.sequence, label, &id)?;
                counts.add(&composed, label.is_some(), self.tokenizer.special_ids().unk);
            }
            if counts.rows >= next_progress {
                next_progress = counts.rows + PROGRESS_ROWS;
                self.context.emit(Event::Progress {
                    done: rows.bytes_read(),
                    total: Some(size.len()),
                    unit: "bytes".to_owned(),
                    values: BTreeMap::from([("rows".to_owned(), counts.rows as f64)]),
                });
            }
        }
        writer.finish(examples.output, &self.info)?;
        Ok(counts)
    }

    fn encode<'a>(&self, path: &Path, line: (u64, &'a [u8])) -> Result<Encoded<'a>, StageError> {
        let row: Row<'a> = parse(path, line)?;
        let label = self.labels.class(row.label.as_deref(), path, line.0)?;
        let mut composed = self.composer.compose(self.tokenizer, &row)?;
        let ids = &composed.sequence.ids;
        if let Some(id) = ids.iter().find(|id| **id as usize >= self.info.vocab_size) {
            return Err(StageError::Line {
                path: path.to_owned(),
                line: line.0,
                problem: format!(
                    "the tokenizer gives id {id} (`{}`), but the model's `vocab_size` is {}",
                    self.tokenizer.token_text(*id).unwrap_or_default(),
                    self.info.vocab_size
                ),
            });
        }
        if !self.types {
            composed.sequence.types.fill(0);
        }
        Ok(Encoded { composed, label, id: row.id })
    }
}

fn write_report(path: &Path, report: &Report) -> Result<(), StageError> {
    let mut text = serde_json::to_string_pretty(report)
        .map_err(|source| StageError::Json { path: path.to_owned(), source })?;
    text.push('\n');
    fs::write(path, text).map_err(StageError::io("writing", path))
}
