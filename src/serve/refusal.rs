//! Why a request is refused, as Text Embeddings Inference says it: `{"error": …, "error_type": …}`.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// Why a request gets no answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Refusal {
    pub kind: Kind,
    /// For the client: what is wrong, and where in the request.
    pub problem: String,
}

/// Each has a status, and the word that Text Embeddings Inference uses for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// There is nothing to classify.
    Empty,
    NotJson,
    /// JSON of another shape.
    Shape,
    TooLarge,
    /// The client sent the request too slowly.
    TooSlow,
    Unauthorized,
    NoRoute,
    OtherMethod,
    /// The queue is full. It makes sense to try again.
    Full,
    /// No answer in time.
    Late,
    /// The tokenizer failed on a text.
    Tokenizer,
    /// The model failed.
    Model,
    /// The device computes nothing more.
    Lost,
}

/// When to try again after the queue was full.
const RETRY_SECONDS: &str = "1";

impl Refusal {
    pub fn new(kind: Kind, problem: impl Into<String>) -> Refusal {
        Refusal { kind, problem: problem.into() }
    }
}

impl Kind {
    fn status(self) -> (StatusCode, &'static str) {
        match self {
            Kind::Empty => (StatusCode::BAD_REQUEST, "Empty"),
            Kind::NotJson => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "Validation"),
            Kind::Shape => (StatusCode::UNPROCESSABLE_ENTITY, "Validation"),
            Kind::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "Validation"),
            Kind::TooSlow => (StatusCode::REQUEST_TIMEOUT, "Validation"),
            Kind::Unauthorized => (StatusCode::UNAUTHORIZED, "Unauthorized"),
            Kind::NoRoute => (StatusCode::NOT_FOUND, "NotFound"),
            Kind::OtherMethod => (StatusCode::METHOD_NOT_ALLOWED, "NotFound"),
            Kind::Full => (StatusCode::TOO_MANY_REQUESTS, "Overloaded"),
            Kind::Late => (StatusCode::SERVICE_UNAVAILABLE, "Overloaded"),
            Kind::Tokenizer => (StatusCode::UNPROCESSABLE_ENTITY, "Tokenizer"),
            Kind::Model => (StatusCode::FAILED_DEPENDENCY, "Backend"),
            Kind::Lost => (StatusCode::SERVICE_UNAVAILABLE, "Unhealthy"),
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (status, word) = self.kind.status();
        let body = json!({ "error": self.problem, "error_type": word }).to_string();
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        match self.kind {
            Kind::Full | Kind::Late => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static(RETRY_SECONDS));
            }
            Kind::Unauthorized => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            // The rest of the body is not read, so no further request can follow it.
            Kind::TooLarge | Kind::TooSlow => {
                headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            _ => {}
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_in_the_description_of_the_service() {
        let document = crate::serve::openapi::document();
        let words = &document["components"]["schemas"]["Error"]["properties"]["error_type"]["enum"];
        let words: Vec<&str> =
            words.as_array().unwrap().iter().map(|it| it.as_str().unwrap()).collect();
        for kind in [
            Kind::Empty,
            Kind::NotJson,
            Kind::Shape,
            Kind::TooLarge,
            Kind::TooSlow,
            Kind::Unauthorized,
            Kind::NoRoute,
            Kind::OtherMethod,
            Kind::Full,
            Kind::Late,
            Kind::Tokenizer,
            Kind::Model,
            Kind::Lost,
        ] {
            assert!(words.contains(&kind.status().1), "{kind:?}");
        }
    }
}
