//! The stage `train-tokenizer`: learns a byte-level BPE vocabulary from texts and writes it as
//! RoBERTa's tokenizer files, which `pretrain` starts from.

mod files;
mod learn;
mod params;

use self::params::{PARAMS, SPECIAL, TrainTokenizerParams};
use crate::stage::error::StageError;
use crate::stage::event::Event;
use crate::stage::params::{ParamSpec, Params};
use crate::stage::{CheckError, Context, InputSpec, Kind, OutputSpec, Stage};

/// The characters of byte-level BPE, one for each byte.
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
