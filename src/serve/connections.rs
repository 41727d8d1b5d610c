//! Accepts connections and serves each, until a signal ends the service. Requests that are being
//! answered then still get their answers.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::serve::service::Service;

/// How long to wait when no connection can be accepted, because too many files are open.
const PAUSE: Duration = Duration::from_millis(50);

/// Serves until `end`. A connection without a request, or with half of one, is closed after the
/// time that clients have; until then it costs nothing but its place.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    service: Arc<Service>,
    end: impl Future<Output = ()>,
) {
    let graceful = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(service.settings.max_connections));
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(service.settings.client_timeout);
    let mut end = std::pin::pin!(end);
    loop {
        let next = next(&listener, &places, service.settings.client_timeout);
        let (stream, place) = tokio::select! {
            next = next => next,
            () = &mut end => break,
        };
        let router = TowerToHyperService::new(router.clone());
        let connection = graceful.watch(builder.serve_connection(TokioIo::new(stream), router));
        let service = Arc::clone(&service);
        tokio::spawn(async move {
            service.metrics.connections.fetch_add(1, Ordering::Relaxed);
            // A connection that breaks concerns its client alone.
            let _ = connection.await;
            service.metrics.connections.fetch_sub(1, Ordering::Relaxed);
            drop(place);
        });
    }
    // Nobody else can connect, and clients see that at once.
    drop(listener);
    let _ = tokio::time::timeout(service.settings.answer_timeout, graceful.shutdown()).await;
}

/// Closes a connection whose client does not read what it was sent for this long.
fn limit_unread(stream: &TcpStream, patience: Duration) {
    #[cfg(target_os = "linux")]
    {
        let milliseconds = u32::try_from(patience.as_millis()).unwrap_or(u32::MAX);
        let _ = rustix::net::sockopt::set_tcp_user_timeout(stream, milliseconds);
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (stream, patience);
}

/// The next connection, as soon as there is a place for it.
async fn next(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
    patience: Duration,
) -> (TcpStream, Option<OwnedSemaphorePermit>) {
    // It fails only if the semaphore is closed, which nobody does.
    let place = Arc::clone(places).acquire_owned().await.ok();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                // Answers are small, and must not wait for more.
                let _ = stream.set_nodelay(true);
                limit_unread(&stream, patience);
                return (stream, place);
            }
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}
