//! Buckets of S3, and web servers, through the `object_store` crate: its asynchronous calls as calls
//! that a thread makes and waits for. Nothing outside of this file knows of the runtime.
//!
//! Small requests are repeated by `object_store` itself, with growing pauses, for as long as the
//! remote's time-out. Large objects move in parts of [`PART`] bytes, several at once; all transfers
//! together hold at most [`PARTS_AT_ONCE`] parts in memory.

mod download;
mod failure;
mod upload;

use std::fs::File;
use std::future::Future;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::AmazonS3Builder;
use object_store::http::HttpBuilder;
use object_store::multipart::MultipartStore;
use object_store::path::Path as Name;
use object_store::{
    BackoffConfig, ClientOptions, ObjectStore, ObjectStoreExt, PutPayload, RetryConfig,
};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;

use download::next;
use failure::{Failure, in_words, there};
use upload::Source;

use crate::files::digest::Digest;
use crate::files::file_error::FileError;
use crate::pipeline::remote_settings::RemotePlace;
use crate::remote::settings::RemoteSettings;
use crate::remote::{Bucket, Meter, RemoteError, Taker, Trouble};

/// The bytes of a part; S3 wants 5 MiB at least.
const PART: u64 = 8 << 20;

/// S3 takes 10,000 parts of an object; larger parts make room for larger objects.
const MOST_PARTS: u64 = 9_000;

const PARTS_AT_ONCE: usize = 8;

/// Of one object.
const PARTS_OF_ONE: usize = 4;

/// Below this a file is uploaded without asking for room.
const SMALL: u64 = 1 << 20;

/// A part has the time-out, and what it takes at this pace, in bytes a second.
const SLOWEST: u64 = 128 << 10;

pub struct Objects {
    store: Arc<dyn ObjectStore>,
    /// The same, for objects in parts; a web server has none, since it is only read.
    in_parts: Option<Arc<dyn MultipartStore>>,
    /// There until this is dropped.
    runtime: Option<Runtime>,
    handle: Handle,
    prefix: String,
    timeout: Duration,
    parts: Arc<Semaphore>,
    /// Tells the notes of uploads to this place from those to others.
    place: Digest,
}

impl Objects {
    pub fn open(settings: &RemoteSettings) -> Result<Objects, RemoteError> {
        let wrong =
            |problem: String| RemoteError::Settings { name: settings.name.clone(), problem };
        // There may be one already; it is the same.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let timeout = settings.timeout;
        let retry = RetryConfig {
            backoff: BackoffConfig {
                init_backoff: Duration::from_millis(100),
                max_backoff: Duration::from_secs(2),
                base: 2.0,
            },
            max_retries: 4,
            retry_timeout: timeout,
        };
        let client = ClientOptions::new()
            .with_allow_http(true)
            .with_timeout_disabled()
            .with_connect_timeout(timeout);
        type Stores = (Arc<dyn ObjectStore>, Option<Arc<dyn MultipartStore>>);
        let (stores, prefix): (Stores, String) = match &settings.place {
            RemotePlace::S3 { bucket, prefix } => {
                let mut builder = AmazonS3Builder::from_env()
                    .with_bucket_name(bucket)
                    .with_client_options(client)
                    .with_retry(retry);
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
                let store = builder.build().map_err(|error| wrong(in_words(&error)))?;
                let store = Arc::new(store);
                ((Arc::clone(&store) as _, Some(store)), prefix.clone())
            }
            RemotePlace::Http { url } => {
                let builder = HttpBuilder::new().with_url(url).with_client_options(client);
                let store = builder.with_retry(retry).build();
                let store = Arc::new(store.map_err(|error| wrong(in_words(&error)))?);
                ((store, None), String::new())
            }
            RemotePlace::Folder(_) => return Err(wrong("it is a folder".to_owned())),
        };
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.map_err(|error| wrong(error.to_string()))?;
        let (store, in_parts) = stores;
        let place = format!("{} {}", settings.endpoint.as_deref().unwrap_or(""), settings.place);
        Ok(Objects {
            store,
            in_parts,
            handle: runtime.handle().clone(),
            runtime: Some(runtime),
            prefix,
            timeout,
            parts: Arc::new(Semaphore::new(PARTS_AT_ONCE)),
            place: Digest::of_bytes(place.as_bytes()),
        })
    }

    fn name(&self, name: &str) -> Name {
        match self.prefix.as_str() {
            "" => Name::from(name),
            prefix => Name::from(format!("{prefix}/{name}")),
        }
    }

    /// Waits for one request.
    fn wait<T>(
        &self,
        limit: Duration,
        request: impl Future<Output = object_store::Result<T>>,
    ) -> Result<T, Failure> {
        self.handle.block_on(within(limit, request))
    }
}

impl Bucket for Objects {
    fn size(&self, name: &str) -> Result<Option<u64>, Trouble> {
        let name = self.name(name);
        there(self.wait(self.timeout, self.store.head(&name)).map(|meta| meta.size))
    }

    fn read(&self, name: &str, most: u64) -> Result<Option<Vec<u8>>, Trouble> {
        let (path, timeout) = (self.name(name), self.timeout);
        let request = async {
            let result = within(timeout, self.store.get(&path)).await?;
            if result.meta.size > most {
                return Err(Failure::Trouble(Trouble::Damaged { name: name.to_owned() }));
            }
            let mut bytes = Vec::with_capacity(result.meta.size as usize);
            let mut stream = result.into_stream();
            while let Some(piece) = next(timeout, &mut stream).await? {
                bytes.extend_from_slice(&piece);
                if bytes.len() as u64 > most {
                    return Err(Failure::Trouble(Trouble::Damaged { name: name.to_owned() }));
                }
            }
            Ok(bytes)
        };
        there(self.handle.block_on(request))
    }

    fn fetch(
        &self,
        name: &str,
        start: u64,
        bytes: u64,
        into: &mut dyn Taker,
    ) -> Result<bool, Trouble> {
        let path = self.name(name);
        let fetched = match self.handle.block_on(self.ranges(&path, start..bytes, into)) {
            // A server that knows no ranges sends everything at once.
            Err(failure) if failure.is_about_ranges() => {
                into.restart()?;
                self.handle.block_on(self.all(&path, into))
            }
            other => other,
        };
        there(fetched).map(|found| found.is_some())
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), Trouble> {
        if self.in_parts.is_none() {
            return Err(Trouble::ReadOnly);
        }
        let (name, payload) = (self.name(name), PutPayload::from(bytes.to_vec()));
        let put = self.wait(self.limit(bytes.len() as u64), self.store.put(&name, payload));
        put.map(drop).map_err(Failure::trouble)
    }

    fn remove(&self, name: &str) -> Result<(), Trouble> {
        let name = self.name(name);
        there(self.wait(self.timeout, self.store.delete(&name))).map(drop)
    }

    fn upload(
        &self,
        name: &str,
        file: &Path,
        digest: Digest,
        notes: &Path,
        meter: &Meter,
    ) -> Result<(), Trouble> {
        let Some(in_parts) = &self.in_parts else { return Err(Trouble::ReadOnly) };
        let mut source = File::open(file).map_err(FileError::at("reading", file))?;
        let length = source.metadata().map_err(FileError::at("reading", file))?.len();
        if length > PART {
            let note = notes.join(format!("{digest}.to-{}", self.place.short()));
            let source = Source { file: source, path: file, length, digest };
            return self.upload_in_parts(in_parts, &self.name(name), source, note, meter);
        }
        let _permit = match length {
            0..SMALL => None,
            _ => self.handle.block_on(self.parts.acquire()).ok(),
        };
        let bytes = read_part(&mut source, length, file)?;
        if Digest::of_bytes(&bytes) != digest {
            return Err(Trouble::DamagedHere(digest.short()));
        }
        self.write(name, &bytes)?;
        meter(length)
    }
}

impl Objects {
    /// How long a request with so many bytes may take.
    fn limit(&self, bytes: u64) -> Duration {
        self.timeout + Duration::from_secs(bytes / SLOWEST)
    }

    /// Room for one more part. Who has none under way waits; who has some goes on with these, so
    /// that no two transfers wait for each other.
    async fn permit(&self, wait: bool) -> Option<OwnedSemaphorePermit> {
        let parts = Arc::clone(&self.parts);
        match wait {
            true => parts.acquire_owned().await.ok(),
            false => parts.try_acquire_owned().ok(),
        }
    }
}

impl Drop for Objects {
    /// Waits for nothing: a name server that hangs would hold up the end of the program.
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// A task that ends with who waits for it.
struct Task<T>(JoinHandle<Result<T, Failure>>);

impl<T> Task<T> {
    async fn join(mut self) -> Result<T, Failure> {
        (&mut self.0).await.unwrap_or_else(|_| Err(Failure::lost()))
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn within<T>(
    limit: Duration,
    request: impl Future<Output = object_store::Result<T>>,
) -> Result<T, Failure> {
    match tokio::time::timeout(limit, request).await {
        Ok(result) => result.map_err(Failure::Store),
        Err(_) => Err(Failure::Silent(limit)),
    }
}

fn read_part(source: &mut File, size: u64, file: &Path) -> Result<Vec<u8>, FileError> {
    let mut bytes = Vec::with_capacity(size as usize);
    source.take(size).read_to_end(&mut bytes).map_err(FileError::at("reading", file))?;
    Ok(bytes)
}
