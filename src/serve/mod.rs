//! The HTTP service of `pipe serve`. tokio only moves bytes; a thread of its own runs the model.
//!
//! ```text
//! connection → routes → request → texts ─┐   on a blocking thread
//!                                        │   cleaned, tokenized     service, model
//!                                        ├─→ queue                  429 if it is full
//!                                        │     ↓ batches of tokens
//!                                        │   batcher                the thread of the model
//!                                        │     ↓ scores
//! connection ← routes ← scored     ←─────┘
//! ```
//!
//! What the model computes for a text does not depend on its batch, so the answers are those of
//! `predict`, to the bit.

mod batcher;
mod connections;
mod health;
pub mod key;
pub mod log;
mod metrics;
pub mod model;
mod openapi;
mod page;
mod queue;
mod refusal;
mod reply;
mod request;
mod routes;
mod scored;
pub mod service;
pub mod settings;
mod texts;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{SignalKind, signal};

use crate::console::Console;
use crate::files::file_error::FileError;
use crate::files::threads;
use crate::serve::health::Health;
use crate::serve::log::{Log, LogThread};
use crate::serve::metrics::Metrics;
use crate::serve::model::{ModelSlot, ServedModel};
use crate::serve::queue::Queue;
use crate::serve::service::Service;
use crate::serve::settings::Settings;

/// Why there is no service.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error("the environment variable `{variable}` of `--api-key-env` is not set, or empty")]
    NoKey { variable: String },
    #[error(
        "a request may have {texts} texts (`--max-texts`), but only {queue} may wait (`--queue`)"
    )]
    QueueTooSmall { texts: usize, queue: usize },
    #[error("listening on `{address}`: {source}")]
    Listen { address: String, source: io::Error },
    #[error("starting the service: {0}")]
    Start(io::Error),
    #[error(transparent)]
    Thread(#[from] FileError),
}

impl ServeError {
    /// Whether the command line is wrong.
    pub fn is_usage(&self) -> bool {
        matches!(self, ServeError::NoKey { .. } | ServeError::QueueTooSmall { .. })
    }

    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            ServeError::NoKey { .. } => "set it to the key that clients will send",
            ServeError::QueueTooSmall { .. } => "raise `--queue`, or lower `--max-texts`",
            ServeError::Listen { source, .. } => match source.kind() {
                io::ErrorKind::AddrInUse => "another program has this port: use another `--port`",
                io::ErrorKind::PermissionDenied => {
                    "ports below 1024 are for root: use another `--port`"
                }
                _ => return None,
            },
            ServeError::Start(_) => return None,
            ServeError::Thread(error) => return error.hint().map(str::to_owned),
        };
        Some(hint.to_owned())
    }
}

/// A listening socket. Connections wait from now on, and are served when there is a model.
pub struct Listening {
    listener: TcpListener,
    pub address: SocketAddr,
}

impl Listening {
    pub fn on(host: &str, port: u16) -> Result<Listening, ServeError> {
        let failed = |source| ServeError::Listen { address: format!("{host}:{port}"), source };
        let listener = TcpListener::bind((host, port)).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Listening { listener, address })
    }
}

/// A service that is about to run.
pub struct Server {
    listener: TcpListener,
    runtime: Runtime,
    service: Arc<Service>,
    log: LogThread,
}

impl Server {
    pub fn new(
        listening: Listening,
        settings: Settings,
        model: ServedModel,
        console: Console,
    ) -> Result<Server, ServeError> {
        raise_file_limit();
        let threads = std::thread::available_parallelism().map_or(2, usize::from).max(2);
        let mut builder = Builder::new_multi_thread();
        builder.worker_threads(1).max_blocking_threads(threads).enable_all();
        let runtime = builder.build().map_err(ServeError::Start)?;
        let (log, log_thread) = Log::start(settings.log, console)?;
        let queue = Arc::new(Queue::new(settings.queue));
        let models = ModelSlot::new(model);
        let service = Arc::new(Service {
            settings,
            models,
            queue,
            metrics: Metrics::new(),
            health: Health::default(),
            log,
        });
        Ok(Server { listener: listening.listener, runtime, service, log: log_thread })
    }

    /// For replacing the model.
    pub fn service(&self) -> Arc<Service> {
        Arc::clone(&self.service)
    }

    /// Serves until SIGTERM or SIGINT, and then answers what has been asked.
    pub fn run(self) -> Result<(), ServeError> {
        let Server { listener, runtime, service, log } = self;
        let (queue, of_model) = (Arc::clone(&service.queue), Arc::clone(&service));
        let model = threads::spawn(Path::new("the model"), move || {
            let tokens = of_model.settings.batch_tokens;
            batcher::run(&of_model, tokens);
        })?;
        let router = routes::router(Arc::clone(&service));
        let served = runtime.block_on(async {
            listener.set_nonblocking(true)?;
            let listener = tokio::net::TcpListener::from_std(listener)?;
            let mut terminate = signal(SignalKind::terminate())?;
            let mut interrupt = signal(SignalKind::interrupt())?;
            let end = async move {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
            };
            connections::serve(listener, router, Arc::clone(&service), end).await;
            Ok(())
        });
        queue.close();
        // Connections that did not end in time end here.
        runtime.shutdown_background();
        let _ = model.join();
        log.finish(&service.log);
        served.map_err(ServeError::Start)
    }
}

/// Each connection is an open file. Systems allow 1,024 of them unless a program asks for more.
fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}

impl Service {
    /// Answers new requests with another model. Those that are being answered keep theirs.
    pub fn replace(&self, model: ServedModel) {
        self.models.replace(model);
        self.metrics.add_reload(true);
    }

    /// Counts that another model could not be loaded.
    pub fn keep(&self) {
        self.metrics.add_reload(false);
    }
}
