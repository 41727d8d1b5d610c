//! What tells about the service: `/health`, `/info`, `/metrics`, `/openapi.json`.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::serve::openapi;
use crate::serve::refusal::{Kind, Refusal};
use crate::serve::reply;
use crate::serve::service::Service;

/// It answers from when the model is loaded until the service ends.
pub async fn health(State(service): State<Arc<Service>>) -> Response {
    match service.health.problem() {
        None => StatusCode::OK.into_response(),
        Some(problem) => Refusal::new(Kind::Lost, problem).into_response(),
    }
}

/// The fields of Text Embeddings Inference that have a meaning here, and the task and the device.
pub async fn info(State(service): State<Arc<Service>>) -> Response {
    let (model, settings) = (service.models.get(), &service.settings);
    let labels = model.classifier.labels();
    let by_class: BTreeMap<String, &String> =
        labels.iter().enumerate().map(|(class, label)| (class.to_string(), label)).collect();
    let by_label: BTreeMap<&String, usize> =
        labels.iter().enumerate().map(|(class, label)| (label, class)).collect();
    reply::json(&json!({
        "model_id": model.name,
        "model_sha": model.digest,
        "model_type": { "classifier": { "id2label": by_class, "label2id": by_label } },
        "family": model.classifier.family(),
        "task": model.classifier.task().word(),
        "device": model.classifier.device,
        "max_input_length": model.classifier.max_length(),
        "window_stride": model.classifier.window_stride(),
        "max_batch_tokens": settings.batch_tokens,
        "max_client_batch_size": settings.max_texts,
        "max_queued_texts": settings.queue,
        "auto_truncate": true,
        "version": env!("CARGO_PKG_VERSION"),
    }))
}

pub async fn metrics(State(service): State<Arc<Service>>) -> Response {
    let text = service.metrics.text(service.queue.admitted(), &service.models.get().digest);
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    ([(header::CONTENT_TYPE, kind)], text).into_response()
}

pub async fn openapi() -> Response {
    reply::json(&openapi::document())
}
