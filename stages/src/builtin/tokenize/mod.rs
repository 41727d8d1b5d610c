//! The stage `tokenize`: turns examples into token ids with the tokenizer of the model that will
//! read them. It runs between `split` and `finetune` or `predict`.

pub(crate) mod compose;
mod encode;
mod labels;
pub(crate) mod params;
mod report;

use std::collections::BTreeMap;
use std::path::Path;

use self::compose::Composer;
use self::encode::ExampleEncoder;
use self::labels::LabelClasses;
use self::params::{PARAMS, TokenizeParams};
use self::report::TokenizeReport;
use crate::data::token_file::TokenInfo;
use crate::model::config::ModelConfig;
use crate::stage::error::StageError;
use crate::stage::event::Event;
use crate::stage::output::write_json;
use crate::stage::params::Params;
use crate::stage::{CheckError, Context, InputSpec, Kind, OutputSpec, Stage, StageSpec};
use crate::text::TextTokenizer;

/// The inputs of examples, in the order in which they are tokenized.
const EXAMPLES: [&str; 3] = ["train", "valid", "test"];

/// The stage.
pub struct Tokenize;

const fn tokens(name: &'static str, file: &'static str) -> OutputSpec {
    let doc = "token ids, offsets and labels";
    OutputSpec::new(name, file, Kind::File, doc).given(name)
}

const SPEC: StageSpec = StageSpec {
    name: "tokenize",
    version: 3,
    summary: "turns examples into token ids with the model's own tokenizer",
    inputs: &[
        InputSpec::required(
            "model",
            Kind::Folder,
            "the folder of the model, for its tokenizer and `config.json`",
        ),
        InputSpec::optional(
            "train",
            Kind::File,
            "training examples, JSONL as written by `ingest` or `split`",
        ),
        InputSpec::optional("valid", Kind::File, "validation examples"),
        InputSpec::optional("test", Kind::File, "test examples"),
    ],
    outputs: &[
        tokens("train", "train.safetensors"),
        tokens("valid", "valid.safetensors"),
        tokens("test", "test.safetensors"),
        OutputSpec::new(
            "report",
            "report.json",
            Kind::File,
            "lengths, truncation and unknown tokens of each input",
        ),
    ],
    params: PARAMS,
    headline: &[
        "train_rows",
        "train_windows",
        "train_tokens",
        "train_longest",
        "valid_rows",
        "test_rows",
        "test_windows",
    ],
};

impl Stage for Tokenize {
    fn spec(&self) -> &'static StageSpec {
        &SPEC
    }

    fn check(&self, params: &Params, wired: &[&str]) -> Result<(), CheckError> {
        if !EXAMPLES.iter().any(|name| wired.contains(name)) {
            let message =
                "`tokenize` needs an input of examples: `train`, `valid` or `test`".to_owned();
            return Err(CheckError { name: Some("train"), message });
        }
        let mut params = TokenizeParams::of(params);
        params.labels.sort();
        if let Some(twice) = params.labels.windows(2).find(|pair| pair[0] == pair[1]) {
            let message = format!("label `{}` is listed twice", twice[0]);
            return Err(CheckError { name: Some("labels"), message });
        }
        if let (Some(stride), Some(length)) = (params.window_stride, params.max_length)
            && stride >= length
        {
            let message = format!(
                "windows of `max_length` {length} tokens cannot share {stride}: `window_stride` must \
                 be smaller"
            );
            return Err(CheckError { name: Some("window_stride"), message });
        }
        Ok(())
    }

    fn run(&self, context: &Context) -> Result<(), StageError> {
        let params = TokenizeParams::of(context.params());
        let folder = context.input("model")?;
        let config = ModelConfig::read(folder)?;
        let tokenizer = TextTokenizer::open_to_digest(folder, config.family)?;
        let mut files = Vec::new();
        for name in EXAMPLES {
            if let Some(input) = context.optional_input(name) {
                files.push(ExampleFile { name, input, output: context.output(name)? });
            }
        }
        if files.is_empty() {
            return Err(StageError::NoSuchInput { name: "train" });
        }
        if tokenizer.asks_for_normalization() && !params.normalize_tweets {
            let message = "`tokenizer_config.json` asks for tweet normalization; \
                       set `normalize_tweets: true` to apply it";
            context.emit(Event::Note { message: message.to_owned() });
        }
        let composer = Composer::new(&params, &config, &tokenizer)?;
        let inputs: Vec<&Path> = files.iter().map(|file| file.input).collect();
        let labels = LabelClasses::new(params.labels, &inputs)?;
        let encoder = ExampleEncoder {
            tokenizer: &tokenizer,
            composer: &composer,
            labels: &labels,
            info: TokenInfo {
                label_names: labels.names().to_vec(),
                pad_id: config.pad_token_id as u32,
                vocab_size: config.vocab_size,
                max_length: composer.max_length,
                stride: composer.stride,
                tokenizer: Some(tokenizer.digest()?),
            },
            config: &config,
        };
        let mut counts = BTreeMap::new();
        for file in &files {
            let counted = encoder.encode_file(context, file.input, file.output)?;
            if let Some(message) =
                cut_texts(counted.truncated_rows, counted.rows, composer.max_length)
            {
                context.emit(Event::Note { message: format!("{}: {message}", file.name) });
            }
            counts.insert(file.name, counted);
        }
        if let Some(train) = counts.get("train").filter(|train| train.labelled > 0) {
            for (input, other) in counts.iter().filter(|(input, _)| **input != "train") {
                let untrained = labels.untrained(&train.label_rows, input, &other.label_rows);
                untrained.into_iter().for_each(|message| context.emit(Event::Warning { message }));
            }
        }
        let values = counts.iter().flat_map(|(name, counts)| counts.metrics(name)).collect();
        context.emit(Event::Metrics { step: None, values });
        let report = TokenizeReport {
            labels: labels.names(),
            max_length: composer.max_length,
            vocab_size: tokenizer.vocab_size(),
            inputs: counts,
        };
        let written = write_json(context.output("report")?, &report);
        // The process ends soon, and to free a vocabulary takes longer than to tokenize a few rows.
        std::mem::forget(tokenizer);
        written
    }
}

/// Says how many of the texts were cut to fit, context included, if it is more than one in a
/// hundred.
pub(crate) fn cut_texts(cut: u64, texts: u64, max_length: usize) -> Option<String> {
    let percent = 100.0 * cut as f64 / texts as f64;
    (percent > 1.0).then(|| {
        format!(
            "{cut} of {texts} texts ({percent:.1}%) were cut to `max_length` ({max_length} tokens)"
        )
    })
}

/// An input of examples and its output.
struct ExampleFile<'a> {
    name: &'static str,
    input: &'a Path,
    output: &'a Path,
}
