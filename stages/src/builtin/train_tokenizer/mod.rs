//! The stage `train-tokenizer`: learns a byte-level BPE vocabulary from texts and writes it as
//! RoBERTa's tokenizer files, which `pretrain` starts from.

mod files;
mod learn;
mod params;

use self::params::{PARAMS, SPECIAL, TrainTokenizerParams};
use crate::stage::error::StageError;
use crate::stage::event::Event;
use crate::stage::params::Params;
use crate::stage::{CheckError, Context, InputSpec, Kind, OutputSpec, Stage, StageSpec};

/// The characters of byte-level BPE, one for each byte.
const BYTES: usize = 256;

/// The stage.
pub struct TrainTokenizer;

const SPEC: StageSpec = StageSpec {
    name: "train-tokenizer",
    version: 1,
    summary: "learns a byte-level BPE vocabulary from texts",
    inputs: &[InputSpec::required(
        "text",
        Kind::File,
        "texts: one a line, or JSON lines with a field `text`",
    )],
    outputs: &[OutputSpec::new(
        "tokenizer",
        "tokenizer",
        Kind::Folder,
        "RoBERTa's tokenizer files: tokenizer.json, vocab.json, merges.txt and its config",
    )],
    params: PARAMS,
    headline: &["texts", "vocab_size", "tokens_per_text"],
};

impl Stage for TrainTokenizer {
    fn spec(&self) -> &'static StageSpec {
        &SPEC
    }

    fn check(&self, params: &Params, _: &[&str]) -> Result<(), CheckError> {
        let problem = |name, message: String| Err(CheckError { name: Some(name), message });
        let TrainTokenizerParams { keep, vocab_size, .. } = TrainTokenizerParams::of(params);
        for (index, token) in keep.iter().enumerate() {
            if token.is_empty() || token.chars().any(char::is_whitespace) {
                let message =
                    format!("`{token}` cannot be kept whole: it is empty or holds a space");
                return problem("keep", message);
            }
            if SPECIAL.contains(&token.as_str()) || keep[..index].contains(token) {
                return problem("keep", format!("`{token}` is already a token"));
            }
        }
        let least = SPECIAL.len() + keep.len() + BYTES;
        if vocab_size < least {
            let message = format!(
                "`vocab_size` is {vocab_size}, but the special tokens, the tokens to `keep` and the \
                 {BYTES} bytes are {least} tokens already"
            );
            return problem("vocab_size", message);
        }
        Ok(())
    }

    fn run(&self, context: &Context) -> Result<(), StageError> {
        let params = TrainTokenizerParams::of(context.params());
        let input = context.input("text")?;
        let output = context.output("tokenizer")?;
        let words = learn::count_words(context, input, &params)?;
        if words.texts == 0 {
            let problem = "holds no texts".to_owned();
            return Err(StageError::File { path: input.to_owned(), problem });
        }
        let learned = learn::learn(&words, &params)?;
        std::fs::create_dir_all(output).map_err(StageError::io("creating", output))?;
        files::write(output, &learned.tokenizer, &params)?;
        let values = [
            ("texts", words.texts as f64),
            ("tokens", learned.tokens as f64),
            ("tokens_per_text", learned.tokens as f64 / words.texts as f64),
            ("vocab_size", learned.tokenizer.get_vocab_size(true) as f64),
        ];
        let values = values.map(|(name, value)| (name.to_owned(), value)).into();
        context.emit(Event::Metrics { step: None, values });
        Ok(())
    }
}
