//! One request for a file or an answer: redirections, time limits, and whether a failure may pass.

use std::time::Duration;

use ureq::http::{Response, header};
use url::Url;

/// How long a connection may be silent before the download gives it up.
const SILENCE: Duration = Duration::from_secs(60);

/// How many redirections to follow.
const MOST_REDIRECTIONS: usize = 10;

/// Why a request brought no answer to read.
pub enum RequestError {
    /// A retry may help.
    Passing(String),
    /// A retry will not help.
    Lasting(String),
    /// The server refuses to send the rest of the file.
    Range,
    Status(u16),
}

/// Requests `url` from byte `start` on. The answer's status is 200 or 206.
///
/// The token is sent to the host of `url` only: a redirection to another host, port or scheme is
/// followed without it.
pub fn get(
    url: &str,
    token: Option<&str>,
    start: u64,
) -> Result<Response<ureq::Body>, RequestError> {
    let lasting = |problem: String| RequestError::Lasting(problem);
    let first = Url::parse(url).map_err(|error| lasting(format!("`{url}`: {error}")))?;
    let mut address = first.clone();
    for _ in 0..=MOST_REDIRECTIONS {
        let mut request = agent().get(address.as_str());
        if let Some(token) = token.filter(|_| address.origin() == first.origin()) {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        if start > 0 {
            request = request.header(header::RANGE, format!("bytes={start}-"));
        }
        let response = request.call().map_err(|error| match is_passing(&error) {
            true => RequestError::Passing(in_words(&error)),
            false => RequestError::Lasting(in_words(&error)),
        })?;
        match response.status().as_u16() {
            200 | 206 => return Ok(response),
            301 | 302 | 303 | 307 | 308 => {
                address = target(&address, &response).map_err(lasting)?
            }
            416 if start > 0 => return Err(RequestError::Range),
            status @ (408 | 425 | 429 | 500..=599) => {
                return Err(RequestError::Passing(format!("the server answers {status}")));
            }
            status => return Err(RequestError::Status(status)),
        }
    }
    Err(lasting(format!("the server redirects more than {MOST_REDIRECTIONS} times")))
}

fn agent() -> ureq::Agent {
    let config = ureq::Agent::config_builder()
        .user_agent(concat!("pipe/", env!("CARGO_PKG_VERSION")))
        // A range of a compressed answer would be useless.
        .accept_encoding("identity")
        .max_redirects(0)
        .timeout_connect(Some(SILENCE))
        .timeout_recv_response(Some(SILENCE))
        .timeout_per_read(Some(SILENCE))
        .http_status_as_error(false)
        .build();
    ureq::Agent::new_with_config(config)
}

/// The address that an answer redirects to.
fn target(from: &Url, response: &Response<ureq::Body>) -> Result<Url, String> {
    let location = response.headers().get(header::LOCATION);
    let location = location.and_then(|value| value.to_str().ok());
    let location = location.ok_or("the server redirects, but does not say where to")?;
    let to =
        from.join(location).map_err(|error| format!("the server redirects wrongly: {error}"))?;
    match to.scheme() {
        "http" | "https" => Ok(to),
        scheme => Err(format!("the server redirects to an address of the kind `{scheme}:`")),
    }
}

/// Whether the same request may succeed a little later.
fn is_passing(error: &ureq::Error) -> bool {
    matches!(
        error,
        ureq::Error::Io(_)
            | ureq::Error::Timeout(_)
            | ureq::Error::ConnectionFailed
            | ureq::Error::Protocol(_)
    )
}

/// What went wrong with a connection, in words for people.
pub fn in_words(error: &ureq::Error) -> String {
    match error {
        ureq::Error::HostNotFound => {
            "the server's name is not known; is there a network?".to_owned()
        }
        ureq::Error::ConnectionFailed => "the server cannot be reached".to_owned(),
        ureq::Error::Timeout(_) => format!("nothing came for {} seconds", SILENCE.as_secs()),
        other => other.to_string(),
    }
}
