//! `pipe serve`: answers over HTTP with a trained model, the pipeline's or any model folder.

mod model_source;
mod reload;

use std::time::Duration;

use clap::Args;
use clap::builder::PossibleValuesParser;
use stages::model::precision::Precision;

use self::model_source::ModelSource;
use self::reload::Reloader;
use crate::cli::carry_out::device;
use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::cli::options::{Globals, OverrideOptions};
use crate::console::Console;
use crate::serve::key::Key;
use crate::serve::log::LogLevel;
use crate::serve::settings::Settings;
use crate::serve::{Listening, ServeError, Server};

#[derive(Debug, Args)]
pub struct ServeOptions {
    /// The model: `stage:output` or a folder, which needs no pipeline. Default: the only model of
    /// the pipeline
    #[arg(long, value_name = "MODEL")]
    model: Option<String>,
    #[command(flatten)]
    overrides: OverrideOptions,
    /// Where the model runs: `auto`, `cpu`, `cuda`, `cuda:N`, `vulkan` or `vulkan:N`
    #[arg(long, value_name = "DEVICE", default_value = "auto", value_parser = device)]
    device: String,
    /// The number format of matrix products, instead of that of the pipeline's `predict`. `int8` is
    /// faster on a CPU
    #[arg(long, value_name = "FORMAT", value_parser = PossibleValuesParser::new(Precision::WORDS))]
    precision: Option<String>,
    /// The name or address to listen on. Others than this machine reach only an address of the
    /// network, such as `0.0.0.0`
    #[arg(long, value_name = "HOST", default_value = "127.0.0.1")]
    host: String,
    /// The port to listen on; 0 for any that is free
    #[arg(long, value_name = "PORT", default_value_t = 8080)]
    port: u16,
    /// Requests need the key that this environment variable holds, as `Authorization: Bearer KEY`
    #[arg(long, value_name = "NAME")]
    api_key_env: Option<String>,
    #[command(flatten)]
    limits: LimitOptions,
    /// How long a client may take to send the head of a request, and then its body
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..))]
    client_timeout: u64,
    /// How long a request may wait for its answer, and the service for its last answers
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..))]
    answer_timeout: u64,
    /// Log the texts of requests too
    #[arg(long)]
    log_texts: bool,
}

/// How much there may be of what clients send.
#[derive(Debug, Args)]
struct LimitOptions {
    /// The most texts of one request
    #[arg(long, value_name = "N", default_value_t = 128, value_parser = positive)]
    max_texts: usize,
    /// The most bytes of the body of a request
    #[arg(long, value_name = "BYTES", default_value_t = 1 << 20, value_parser = positive)]
    max_body: usize,
    /// The most tokens of one text, for a model that reads long texts in windows
    #[arg(long, value_name = "N", default_value_t = 1 << 16, value_parser = positive)]
    max_tokens: usize,
    /// The most texts that may wait or be computed; with more, requests get status 429
    #[arg(long, value_name = "N", default_value_t = 1024, value_parser = positive)]
    queue: usize,
    /// The most tokens that the model computes at once, from however many requests
    #[arg(long, value_name = "N", default_value_t = 2048, value_parser = positive)]
    batch_tokens: usize,
    /// The most connections; further ones wait
    #[arg(long, value_name = "N", default_value_t = 4096, value_parser = positive)]
    max_connections: usize,
}

/// A number from 1 on.
fn positive(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err("expected a whole number from 1 on".to_owned()),
        Ok(number) => Ok(number),
    }
}

pub fn execute(
    options: &ServeOptions,
    globals: &Globals,
    console: &Console,
) -> Result<Exit, Error> {
    let settings = options.settings(globals)?;
    let listening = Listening::on(&settings.host, settings.port)?;
    let address = listening.address;
    // Before the model is loaded, so that no change is missed.
    let source = ModelSource {
        model: options.model.clone(),
        device: options.device.clone(),
        precision: options.precision.clone(),
        overrides: options.overrides.overrides(),
        globals: globals.clone(),
    };
    let reloader = Reloader::new(source, *console)?;
    let model = reloader.load()?;
    let (name, on) = (model.name.clone(), model.classifier.device.clone());
    let server = Server::new(listening, settings, model, *console)?;
    reloader.start(server.service())?;
    // Data, for a script that has asked for any port.
    console.data(&format!("http://{address}\n"))?;
    console.note(&format!("serving {name} on {on} at http://{address}; Ctrl-C ends"));
    server.run()?;
    Ok(Exit::Done)
}

impl ServeOptions {
    fn settings(&self, globals: &Globals) -> Result<Settings, Error> {
        let limits = &self.limits;
        if limits.max_texts > limits.queue {
            let (texts, queue) = (limits.max_texts, limits.queue);
            return Err(ServeError::QueueTooSmall { texts, queue }.into());
        }
        let log = match (self.log_texts, globals.verbose) {
            (true, _) => LogLevel::Texts,
            (false, true) => LogLevel::Requests,
            (false, false) => LogLevel::Nothing,
        };
        Ok(Settings {
            host: self.host.clone(),
            port: self.port,
            max_body: limits.max_body,
            max_texts: limits.max_texts,
            max_tokens: limits.max_tokens,
            queue: limits.queue,
            batch_tokens: limits.batch_tokens,
            max_connections: limits.max_connections,
            client_timeout: Duration::from_secs(self.client_timeout),
            answer_timeout: Duration::from_secs(self.answer_timeout),
            key: self.api_key_env.as_deref().map(key).transpose()?,
            log,
        })
    }
}

/// The key that an environment variable holds. One that is not set must not mean that there is none.
fn key(variable: &str) -> Result<Key, ServeError> {
    let key = std::env::var(variable).unwrap_or_default();
    match key.trim() {
        "" => Err(ServeError::NoKey { variable: variable.to_owned() }),
        key => Ok(Key::new(key)),
    }
}
