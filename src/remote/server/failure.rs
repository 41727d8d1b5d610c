//! Why a request to a server failed, and how to say that to people.

use std::time::Duration;

use object_store::Error;

use crate::remote::error::Trouble;

/// Why a request failed.
pub enum Failure {
    Store(Error),
    Silent(Duration),
    Trouble(Trouble),
}

impl From<Trouble> for Failure {
    fn from(trouble: Trouble) -> Failure {
        Failure::Trouble(trouble)
    }
}

impl Failure {
    pub fn lost() -> Failure {
        Failure::Trouble(Trouble::Failed("the transfer was broken off".to_owned()))
    }

    /// Whether the server does not support ranges.
    pub fn is_about_ranges(&self) -> bool {
        match self {
            Failure::Store(Error::NotSupported { .. }) => true,
            Failure::Store(error) => error.to_string().contains("non-partial response"),
            _ => false,
        }
    }

    /// Whether the server may have forgotten an upload in parts, or some of its parts. Servers
    /// report this in several ways, some of them as a denied access.
    pub fn may_be_of_upload(&self) -> bool {
        match self {
            Failure::Store(Error::NotFound { .. } | Error::PermissionDenied { .. }) => true,
            Failure::Store(error) => in_words(error).contains("InvalidPart"),
            _ => false,
        }
    }

    /// Whether the same request may succeed a little later.
    pub fn may_pass(&self) -> bool {
        matches!(self, Failure::Store(Error::Generic { .. })) && !self.is_about_ranges()
    }

    pub fn trouble(self) -> Trouble {
        match self {
            Failure::Trouble(trouble) => trouble,
            Failure::Silent(limit) => Trouble::Silent(limit),
            Failure::Store(error) => match &error {
                Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => {
                    Trouble::Denied(in_words(&error))
                }
                other if in_words(other).contains("507") => Trouble::Full(in_words(&error)),
                _ => Trouble::Failed(in_words(&error)),
            },
        }
    }
}

/// Turns the failure to find an object into `None`.
pub fn there<T>(result: Result<T, Failure>) -> Result<Option<T>, Trouble> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(Failure::Store(Error::NotFound { .. })) => Ok(None),
        Err(failure) => Err(failure.trouble()),
    }
}

/// The innermost cause in one line. The outer ones only name addresses and retries.
pub fn in_words(error: &Error) -> String {
    let mut reason: &dyn std::error::Error = error;
    while let Some(source) = reason.source() {
        reason = source;
    }
    let text = reason.to_string();
    let text = text.strip_prefix("Server returned non-2xx status code: ").unwrap_or(&text);
    // S3 answers in XML; its code is the most informative part.
    let code = text.split_once("<Code>").and_then(|(_, rest)| rest.split_once("</Code>"));
    if let Some((code, _)) = code {
        let status = text.split(':').next().unwrap_or_default();
        return format!("{status}: {code}");
    }
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    line.trim_end_matches(':').chars().take(200).collect()
}
