//! The routes, and what every request passes: the key, the metrics and the log.

mod classify;
mod explain;
mod hub;
mod predict;
mod status;

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};

use crate::serve::log::LogLevel;
use crate::serve::page;
use crate::serve::refusal::{Kind, Refusal};
use crate::serve::service::Service;

/// What `/metrics` counts by. Any other path counts as `other`.
const ROUTES: [&str; 8] =
    ["/", "/predict", "/classify", "/explain", "/health", "/info", "/metrics", "/openapi.json"];

pub fn router(service: Arc<Service>) -> Router {
    Router::new()
        .route("/", get(|| async { page::response() }).post(hub::answer))
        .route("/predict", post(predict::answer))
        .route("/classify", post(classify::answer))
        .route("/explain", post(explain::answer))
        .route("/health", get(status::health))
        .route("/info", get(status::info))
        .route("/metrics", get(status::metrics))
        .route("/openapi.json", get(status::openapi))
        .fallback(async || {
            let problem = format!("there is nothing here; there are {}", ROUTES.join(", "));
            Refusal::new(Kind::NoRoute, problem)
        })
        .method_not_allowed_fallback(async |request: Request| {
            let problem = format!("this path does not take {}", request.method());
            Refusal::new(Kind::OtherMethod, problem)
        })
        .layer(from_fn_with_state(Arc::clone(&service), observed))
        .with_state(service)
}

/// Checks the key, and counts and logs the request.
async fn observed(State(service): State<Arc<Service>>, request: Request, next: Next) -> Response {
    let start = Instant::now();
    let method = request.method().clone();
    let path = request.uri().path();
    let route = ROUTES.iter().find(|route| **route == path).copied().unwrap_or("other");
    let response = match is_allowed(&service, &request, route) {
        true => next.run(request).await,
        false => {
            let problem = "this service needs its key, as `Authorization: Bearer KEY`";
            Refusal::new(Kind::Unauthorized, problem).into_response()
        }
    };
    let (status, took) = (response.status().as_u16(), start.elapsed());
    service.metrics.add_request(route, status, took);
    service.log.add(LogLevel::Requests, || {
        format!("{method} {route} {status} {:.1} ms", took.as_secs_f64() * 1e3)
    });
    response
}

fn is_allowed(service: &Service, request: &Request, route: &str) -> bool {
    let Some(key) = &service.settings.key else { return true };
    // The page holds nothing but itself, and asks for the key.
    let is_open = route == "/health" || (route == "/" && request.method() == Method::GET);
    is_open || key.is_in(request.headers().get(header::AUTHORIZATION).map(HeaderValue::as_bytes))
}
