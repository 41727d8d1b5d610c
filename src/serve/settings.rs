//! What the service is told when it starts.

use std::time::Duration;

use crate::serve::key::Key;
use crate::serve::log::LogLevel;
use crate::serve::refusal::{Kind, Refusal};

/// The limits of a service, and what it listens on.
#[derive(Clone, Debug)]
pub struct Settings {
    /// A name or an address, without the port.
    pub host: String,
    /// 0 for any that is free.
    pub port: u16,
    /// The largest body of a request.
    pub max_body: usize,
    /// The most texts of one request.
    pub max_texts: usize,
    /// The most tokens of one text, in all its windows.
    pub max_tokens: usize,
    /// The most texts of all requests that wait or are computed.
    pub queue: usize,
    /// The tokens that the model gets at once, from however many requests.
    pub batch_tokens: usize,
    /// The most connections at once; further ones wait to be accepted.
    pub max_connections: usize,
    /// How long a client may take to send the head of a request, and then its body.
    pub client_timeout: Duration,
    /// How long a request may wait for its answer, and how long the end of the service may take.
    pub answer_timeout: Duration,
    /// What each request has to show, except those for `/health` and the page.
    pub key: Option<Key>,
    pub log: LogLevel,
}

impl Settings {
    /// Refuses more texts than a request may have. `counted` says what they are.
    pub fn check_count(&self, texts: usize, counted: &str) -> Result<(), Refusal> {
        let most = self.max_texts;
        if texts <= most {
            return Ok(());
        }
        let problem = format!("there are {texts} {counted}, the most is {most} (`--max-texts`)");
        Err(Refusal::new(Kind::TooLarge, problem))
    }
}
