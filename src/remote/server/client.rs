//! The HTTP client of a remote. `object_store` would follow a redirection to any host and take the
//! session token of S3 along in a header that `reqwest` does not know as a secret. This client
//! follows redirections of S3 only within the host that the user named.

use std::time::Duration;

use object_store::client::{HttpClient, HttpConnector};
use object_store::{ClientOptions, Error};
use reqwest::redirect::{Attempt, Policy};

/// How many redirections to follow.
const MOST_REDIRECTIONS: usize = 10;

/// Makes clients.
#[derive(Debug)]
pub struct Connector {
    /// How long connecting may take.
    pub timeout: Duration,
    /// Whether requests carry credentials, which must not reach another host.
    pub has_credentials: bool,
}

impl HttpConnector for Connector {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        let redirections = match self.has_credentials {
            true => Policy::custom(within_host),
            false => Policy::limited(MOST_REDIRECTIONS),
        };
        let client = reqwest::Client::builder()
            .user_agent(concat!("pipe/", env!("CARGO_PKG_VERSION")))
            .redirect(redirections)
            .connect_timeout(self.timeout)
            .http1_only()
            // The length of a compressed answer is not the length of the object.
            .no_gzip()
            .no_brotli()
            .no_zstd()
            .no_deflate()
            .build();
        let client =
            client.map_err(|error| Error::Generic { store: "HTTP", source: error.into() })?;
        Ok(HttpClient::new(client))
    }
}

fn within_host(attempt: Attempt) -> reqwest::redirect::Action {
    let origin = attempt.url().origin();
    if attempt.previous().iter().any(|previous| previous.origin() != origin) {
        let host = origin.ascii_serialization();
        return attempt.error(format!(
            "the server redirects to {host}, which must not get your credentials; check the \
             endpoint and the region of the remote"
        ));
    }
    match attempt.previous().len() {
        0..=MOST_REDIRECTIONS => attempt.follow(),
        _ => attempt.error(format!("the server redirects more than {MOST_REDIRECTIONS} times")),
    }
}
