//! Opens the token files that a model reads. Their tokens must be those of the model's own
//! tokenizer, and each sequence must fit into the model.

use std::path::{Path, PathBuf};

use crate::data::token_file::{LET_GO_AFTER, TokenFile};
use crate::family::Positions;
use crate::model::config::ModelConfig;
use crate::stage::Context;
use crate::stage::error::StageError;
use crate::stage::event::Event;
use crate::text::{TextTokenizer, has_tokenizer};

/// What the token files of a model must agree with.
pub struct ModelTokens<'a> {
    config: &'a ModelConfig,
    /// The digest of the model's tokenizer, and where it was found. If the model's folder has
    /// none, that of the first token file, so that at least the files agree with each other.
    tokenizer: Option<(String, PathBuf)>,
    has_own: bool,
}

impl<'a> ModelTokens<'a> {
    pub fn of(folder: &Path, config: &'a ModelConfig) -> Result<ModelTokens<'a>, StageError> {
        let has_own = has_tokenizer(folder);
        let tokenizer = match has_own {
            true => {
                let digest = TextTokenizer::open_to_digest(folder, config.family)?.digest()?;
                Some((digest, folder.to_owned()))
            }
            false => None,
        };
        Ok(ModelTokens { config, tokenizer, has_own })
    }

    /// Opens a token file for this model.
    ///
    /// # Errors
    /// The file is damaged, was made with another tokenizer, or has a row that does not fit.
    pub fn open(&mut self, context: &Context, path: &Path) -> Result<TokenFile, StageError> {
        let tokens = TokenFile::open(path)?;
        match (&self.tokenizer, tokens.tokenizer()) {
            (Some((own, other)), Some(digest)) if own != digest => {
                let (tokens, other) = (path.to_owned(), other.clone());
                return Err(StageError::OtherTokenizer { tokens, other });
            }
            (None, Some(digest)) => self.tokenizer = Some((digest.to_owned(), path.to_owned())),
            (Some(_), None) if self.has_own => {
                let message = format!(
                    "{} does not say which tokenizer made it, so it cannot be compared with the \
                     model's; `tokenize` of this version writes it down",
                    path.display()
                );
                context.emit(Event::Warning { message });
            }
            _ => {}
        }
        self.check(&tokens).map_err(|problem| StageError::File {
            path: path.to_owned(),
            problem: format!("{problem}; was it tokenized for another model?"),
        })?;
        Ok(tokens)
    }

    fn check(&self, tokens: &TokenFile) -> Result<(), String> {
        let mut read = 0;
        for window in 0..tokens.windows() {
            read += tokens.length(window);
            if read > LET_GO_AFTER {
                tokens.let_go();
                read = 0;
            }
            let found = self.config.check_sequence(tokens.ids(window), tokens.types(window));
            let row = tokens.row_of(window);
            found
                .map_err(|problem| format!("row {} (`{}`): {problem}", row + 1, tokens.id(row)))?;
        }
        let (pad, own) = (tokens.pad_id() as usize, self.config.pad_token_id);
        // Most families never look at padding. The others count their positions by it.
        let fits = match self.config.family.embeddings.positions {
            Positions::AfterPadding(_) => pad == own,
            Positions::FromZero(_) | Positions::IfBiased(_) | Positions::Absent => {
                pad < self.config.vocab_size
            }
        };
        match fits {
            true => Ok(()),
            false => Err(format!("the padding token is {pad}, that of the model {own}")),
        }
    }
}
