//! The connection to a server: opening it, time limits, and room for parts in memory.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::http::{HttpBuilder, HttpStore};
use object_store::multipart::MultipartStore;
use object_store::path::Path as Name;
use object_store::{BackoffConfig, ClientOptions, GetResult, ObjectStore, RetryConfig};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;

use crate::files::digest::Digest;
use crate::files::pace::Pace;
use crate::pipeline::remote_settings::RemotePlace;
use crate::remote::error::{RemoteError, Trouble};
use crate::remote::server::client::Connector;
use crate::remote::server::failure::{Failure, in_words};
use crate::remote::settings::RemoteSettings;

/// The size of a part in bytes. S3 requires at least 5 MiB.
pub const PART: u64 = 8 << 20;

/// How many parts all transfers together hold in memory.
pub const PARTS_AT_ONCE: usize = 8;

/// How many parts of one object move at once.
pub const PARTS_OF_ONE: usize = 4;

/// The slowest pace, in bytes per second, at which a part may still move. It extends the timeout.
const SLOWEST: u64 = 128 << 10;

/// A bucket of S3, or a web server.
pub struct ServerBucket {
    pub store: Arc<dyn ObjectStore>,
    /// The same store, for uploads in parts. A web server has none, because it is read-only.
    pub in_parts: Option<Arc<dyn MultipartStore>>,
    /// `None` only while this is dropped.
    runtime: Option<Runtime>,
    pub handle: Handle,
    prefix: String,
    pub timeout: Duration,
    pub parts: Arc<Semaphore>,
    /// The digest of the address, which tells notes about uploads to different servers apart.
    pub address: Digest,
}

impl ServerBucket {
    /// Makes no request yet.
    pub fn open(settings: &RemoteSettings) -> Result<ServerBucket, RemoteError> {
        type InParts = Option<Arc<dyn MultipartStore>>;
        // An error means that a provider is installed already; it is the same one.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let wrong = |problem| RemoteError::Settings { name: settings.name.clone(), problem };
        let (store, in_parts, prefix): (Arc<dyn ObjectStore>, InParts, &str) = match &settings.place
        {
            RemotePlace::S3 { bucket, prefix } => {
                let store = s3(settings, bucket).map_err(|error| wrong(in_words(&error)))?;
                let store = Arc::new(store);
                (Arc::clone(&store) as _, Some(store), prefix)
            }
            RemotePlace::Http { url } => {
                let store = web_server(settings, url).map_err(|error| wrong(in_words(&error)))?;
                (Arc::new(store), None, "")
            }
            RemotePlace::Folder(_) => return Err(wrong("it is a folder".to_owned())),
        };
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.map_err(|error| wrong(error.to_string()))?;
        let address = format!("{} {}", settings.endpoint.as_deref().unwrap_or(""), settings.place);
        Ok(ServerBucket {
            store,
            in_parts,
            handle: runtime.handle().clone(),
            runtime: Some(runtime),
            prefix: prefix.to_owned(),
            timeout: settings.timeout,
            parts: Arc::new(Semaphore::new(PARTS_AT_ONCE)),
            address: Digest::of_bytes(address.as_bytes()),
        })
    }

    /// The name of an object on the server.
    pub fn name(&self, name: &str) -> Name {
        match self.prefix.as_str() {
            "" => Name::from(name),
            prefix => Name::from(format!("{prefix}/{name}")),
        }
    }

    /// Makes one request and waits for it.
    pub fn wait<T>(
        &self,
        limit: Duration,
        request: impl Future<Output = object_store::Result<T>>,
    ) -> Result<T, Failure> {
        self.handle.block_on(within(limit, request))
    }

    /// How long a request that sends this many bytes may take.
    pub fn limit(&self, bytes: u64) -> Duration {
        self.timeout.saturating_add(Duration::from_secs(bytes / SLOWEST))
    }

    /// Room for one more part. A transfer with no part under way waits for it. A transfer with some
    /// parts under way must not, so that no two transfers wait for each other.
    pub async fn permit(&self, wait: bool) -> Option<OwnedSemaphorePermit> {
        let parts = Arc::clone(&self.parts);
        match wait {
            true => parts.acquire_owned().await.ok(),
            false => parts.try_acquire_owned().ok(),
        }
    }
}

impl Drop for ServerBucket {
    /// Does not wait for requests: a name server that hangs would delay the end of the program.
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn s3(settings: &RemoteSettings, bucket: &str) -> object_store::Result<AmazonS3> {
    let mut builder = AmazonS3Builder::from_env()
        .with_bucket_name(bucket)
        .with_client_options(ClientOptions::new().with_allow_http(true))
        .with_http_connector(Connector { timeout: settings.timeout, has_credentials: true })
        .with_retry(retry(settings.timeout));
    if let Some(endpoint) = &settings.endpoint {
        builder = builder.with_endpoint(endpoint);
    }
    if let Some(region) = &settings.region {
        builder = builder.with_region(region);
    }
    if let Some((key, secret, token)) = &settings.credentials {
        builder = builder.with_access_key_id(&key.0).with_secret_access_key(&secret.0);
        if let Some(token) = token {
            builder = builder.with_token(&token.0);
        }
    }
    builder.build()
}

fn web_server(settings: &RemoteSettings, url: &str) -> object_store::Result<HttpStore> {
    HttpBuilder::new()
        .with_url(url)
        .with_http_connector(Connector { timeout: settings.timeout, has_credentials: false })
        .with_retry(retry(settings.timeout))
        .build()
}

fn retry(timeout: Duration) -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig {
            init_backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(2),
            base: 2.0,
        },
        max_retries: 4,
        retry_timeout: timeout,
    }
}

/// A task that is aborted when this is dropped.
pub struct Task<T>(pub JoinHandle<Result<T, Failure>>);

impl<T> Task<T> {
    pub async fn join(mut self) -> Result<T, Failure> {
        (&mut self.0).await.unwrap_or_else(|_| Err(Failure::lost()))
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A request with a time limit.
pub async fn within<T>(
    limit: Duration,
    request: impl Future<Output = object_store::Result<T>>,
) -> Result<T, Failure> {
    match tokio::time::timeout(limit, request).await {
        Ok(result) => result.map_err(Failure::Store),
        Err(_) => Err(Failure::Silent(limit)),
    }
}

/// The pieces of an answer, as they arrive. Nothing for the time limit is an error, and so is less
/// than [`Pace`] asks for.
pub struct Pieces {
    stream: BoxStream<'static, object_store::Result<Bytes>>,
    limit: Duration,
    pace: Pace,
}

impl Pieces {
    pub fn new(answer: GetResult, limit: Duration) -> Pieces {
        Pieces { stream: answer.into_stream(), limit, pace: Pace::new(limit) }
    }

    /// The next piece; `None` at the end of the answer.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        let piece = match tokio::time::timeout(self.limit, self.stream.next()).await {
            Ok(piece) => piece.transpose().map_err(Failure::Store)?,
            Err(_) => return Err(Failure::Silent(self.limit)),
        };
        let bytes = piece.as_ref().map_or(0, |piece| piece.len() as u64);
        self.pace.count(bytes).map_err(Trouble::Slow)?;
        Ok(piece)
    }
}
