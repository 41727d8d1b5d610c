//! The stage `train-tokenizer`: learns a byte-level BPE vocabulary from texts and writes it as
//! RoBERTa's tokenizer files, for `pretrain` to begin from.

mod files;
mod learn;

use crate::data::corpus;
use crate::stage::error::StageError;
use crate::stage::event::Event;
use crate::stage::params::{Default, ParamKind, ParamSpec, Params};
use crate::stage::{CheckError, Context, InputSpec, Kind, OutputSpec, Stage};

/// RoBERTa's special tokens in the order of their ids.
const SPECIAL: [&str; 5] = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"];

/// The characters that stand for the 256 bytes.
const BYTES: usize = 256;

/// The stage.
pub struct TrainTokenizer;

impl Stage for TrainTokenizer {
    fn name(&self) -> &'static str {
        "train-tokenizer"
    }

    fn version(&self) -> u32 {
        1
    }

    fn summary(&self) -> &'static str {
        "learns a byte-level BPE vocabulary from texts"
    }

    fn inputs(&self) -> &'static [InputSpec] {
        const INPUTS: &[InputSpec] = &[InputSpec::required(
            "text",
            Kind::File,
            "texts: one a line, or JSON lines with a field `text`",
        )];
        INPUTS
    }

    fn outputs(&self) -> &'static [OutputSpec] {
        const OUTPUTS: &[OutputSpec] = &[OutputSpec::new(
            "tokenizer",
            "tokenizer",
            Kind::Folder,
            "RoBERTa's tokenizer files: tokenizer.json, vocab.json, merges.txt and its config",
        )];
        OUTPUTS
    }

    fn params(&self) -> &'static [ParamSpec] {
        PARAMS
    }

    fn headline(&self) -> &'static [&'static str] {
        &["texts", "vocab_size", "tokens_per_text"]
    }

    fn check(&self, params: &Params, _: &[&str]) -> Result<(), CheckError> {
        let problem = |name, message: String| Err(CheckError { name: Some(name), message });
        let keep = params.texts("keep");
        for (index, token) in keep.iter().enumerate() {
            if token.is_empty() || token.chars().any(char::is_whitespace) {
                let message = format!("`{token}` cannot be kept whole: it is empty or has a space");
                return problem("keep", message);
            }
            if SPECIAL.contains(&token.as_str()) || keep[..index].contains(token) {
                return problem("keep", format!("`{token}` is there already"));
            }
        }
        let least = SPECIAL.len() + keep.len() + BYTES;
        if params.count("vocab_size") < least {
            let message = format!(
                "special tokens, those to `keep` and the {BYTES} bytes already are {least}"
            );
            return problem("vocab_size", message);
        }
        Ok(())
    }

    fn run(&self, context: &Context) -> Result<(), StageError> {
        run(context)
    }
}

const PARAMS: &[ParamSpec] = &[
    corpus::FORMAT,
    ParamSpec::new(
        "vocab_size",
        ParamKind::int(261, 10_000_000),
        Default::Int(12_000),
        "tokens at most, special ones included; fewer where the texts do not hold so many \
              pairs",
    ),
    ParamSpec::new(
        "min_frequency",
        ParamKind::int(1, i64::MAX),
        Default::Int(2),
        "how often a pair must occur to become a token",
    ),
    ParamSpec::new(
        "keep",
        ParamKind::TextList,
        Default::TextList(&["@USER", "<URL>"]),
        "texts that are one token each, whatever is around them",
    ),
    ParamSpec::new(
        "add_prefix_space",
        ParamKind::Bool,
        Default::Bool(true),
        "whether the first word of a text is the same token as within it; RoBERTa's own \
              tokenizer tells them apart",
    ),
];

fn run(context: &Context) -> Result<(), StageError> {
    let params = context.params();
    let input = context.input("text")?;
    let output = context.output("tokenizer")?;
    let settings = learn::Settings {
        vocab_size: params.count("vocab_size"),
        min_frequency: params.int("min_frequency").unsigned_abs(),
        keep: params.texts("keep"),
        add_prefix_space: params.bool("add_prefix_space"),
    };
    let words = learn::count_words(context, input, params.text("format"), &settings)?;
    if words.texts == 0 {
        let problem = "there are no texts".to_owned();
        return Err(StageError::File { path: input.to_owned(), problem });
    }
    let learnt = learn::learn(&words, &settings)?;
    std::fs::create_dir_all(output).map_err(StageError::io("creating", output))?;
    files::write(output, &learnt.tokenizer, &settings)?;
    let values = [
        ("texts", words.texts as f64),
        ("tokens", learnt.tokens as f64),
        ("tokens_per_text", learnt.tokens as f64 / words.texts as f64),
        ("vocab_size", learnt.tokenizer.get_vocab_size(true) as f64),
    ];
    let values = values.map(|(name, value)| (name.to_owned(), value)).into();
    context.emit(Event::Metrics { step: None, values });
    Ok(())
}
