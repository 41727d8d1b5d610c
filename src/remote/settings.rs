//! The settings of the remote that a command means: from what the project and the user declare
//! ([`Config`]), from the environment, and from defaults.

use std::time::Duration;

use crate::pipeline::remote_settings::{
    Config, Declared, RemotePlace, SECRET_VARIABLE, Secret, Trust,
};
use crate::remote::error::{RemoteError, Trouble};
use crate::text::suggest::nearest;

/// The default timeout: how long a remote may send nothing.
const PATIENCE: Duration = Duration::from_secs(10);

/// The settings of a remote.
#[derive(Clone, Debug)]
pub struct RemoteSettings {
    pub name: String,
    pub place: RemotePlace,
    pub endpoint: Option<String>,
    pub region: Option<String>,
    pub trust: Trust,
    pub timeout: Duration,
    /// Access key, secret key, session token.
    pub credentials: Option<(Secret, Secret, Option<Secret>)>,
    /// The shared secret with which records are signed.
    pub secret: Option<Secret>,
}

impl Config {
    /// The settings of the remote named `named`, else of the default remote, else of the only one.
    pub fn pick(&self, named: Option<&str>) -> Result<RemoteSettings, RemoteError> {
        let known = || self.remotes.keys().cloned().collect::<Vec<_>>();
        let only = match self.remotes.len() {
            1 => self.remotes.keys().next().map(String::as_str),
            _ => None,
        };
        let name = named.or(self.default.as_deref()).or(only);
        let name = name.ok_or_else(|| RemoteError::NotNamed { known: known() })?;
        let Some(declared) = self.remotes.get(name) else {
            let near = nearest(name, self.remotes.keys().map(String::as_str)).map(str::to_owned);
            return Err(RemoteError::Unknown {
                name: name.to_owned(),
                nearest: near,
                known: known(),
            });
        };
        fill(name, declared, |variable| std::env::var(variable).ok())
    }
}

/// Fills in what is not declared, from the environment and from defaults.
fn fill(
    name: &str,
    declared: &Declared,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<RemoteSettings, RemoteError> {
    let declared = declared.clone();
    let name = name.to_owned();
    let variable = |name: &str| variable(name).filter(|value| !value.is_empty());
    let secret_in = |name: &str| variable(name).map(Secret);
    let Some(place) = declared.place else { return Err(RemoteError::NoUrl { name }) };
    let wrong =
        |problem: &str| RemoteError::Settings { name: name.clone(), problem: problem.to_owned() };
    let credentials = match (declared.access_key_id, declared.secret_access_key) {
        (Some(key), Some(secret)) => Some((key, secret, declared.session_token)),
        (None, None) => secret_in("AWS_ACCESS_KEY_ID")
            .zip(secret_in("AWS_SECRET_ACCESS_KEY"))
            .map(|(key, secret)| (key, secret, secret_in("AWS_SESSION_TOKEN"))),
        _ => {
            return Err(wrong(
                "`access_key_id` and `secret_access_key` go together, and one is missing",
            ));
        }
    };
    let trust = match (&place, declared.trust) {
        (RemotePlace::Http { .. }, None) => Trust::Pull,
        (RemotePlace::Http { .. }, Some(trust)) if trust.pushes() => {
            return Err(wrong("it is a web server, which is read-only: use `trust: pull`"));
        }
        (_, trust) => trust.unwrap_or(Trust::Both),
    };
    Ok(RemoteSettings {
        place,
        endpoint: declared.endpoint,
        region: declared.region,
        trust,
        timeout: declared.timeout.unwrap_or(PATIENCE),
        credentials,
        secret: declared.secret.or_else(|| secret_in(SECRET_VARIABLE)),
        name,
    })
}

impl RemoteSettings {
    /// Fails if `trust:` does not allow the direction.
    pub fn check(&self, allowed: fn(Trust) -> bool) -> Result<(), RemoteError> {
        match allowed(self.trust) {
            true => Ok(()),
            false => {
                Err(RemoteError::NotTrusted { name: self.name.clone(), trust: self.trust.name() })
            }
        }
    }

    /// Turns the failure of a request into the error that ends a command.
    pub fn error(&self, trouble: Trouble) -> RemoteError {
        let is_s3 = matches!(self.place, RemotePlace::S3 { .. });
        let without_credentials = is_s3 && self.credentials.is_none() && trouble.is_of_remote();
        RemoteError::Trouble { name: self.name.clone(), trouble, without_credentials }
    }
}
