//! `POST /classify`: the rows that `predict` writes to `predictions.jsonl`, with the labels that it
//! decides on.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use serde_json::{Value, json};
use stages::data::prediction::Prediction;

use crate::serve::refusal::Refusal;
use crate::serve::reply;
use crate::serve::request::{Fields, body};
use crate::serve::service::{Asked, Service};
use crate::serve::texts::GivenTexts;

pub async fn answer(
    State(service): State<Arc<Service>>,
    request: Request,
) -> Result<Response, Refusal> {
    let body = body(request, &service.settings).await?;
    let answered = service.answer(body, read).await?;
    let each = answered.ids.iter().zip(&answered.scores);
    let mut rows =
        each.map(|(id, scores)| row(&answered.model.classifier.decide(id.clone(), scores)));
    Ok(reply::json(&match answered.is_one {
        true => rows.next().unwrap_or_default(),
        false => Value::Array(rows.collect()),
    }))
}

fn read(mut fields: Fields) -> Result<Asked<()>, Refusal> {
    let texts = GivenTexts::of_classify(fields.need("inputs")?)?;
    let refuses_long = fields.switch("truncate")? == Some(false);
    fields.end()?;
    Ok(Asked { texts, refuses_long, cut_side: None, rest: () })
}

/// A prediction, with its id if it has one.
fn row(prediction: &Prediction) -> Value {
    let mut row = json!({ "label": prediction.label, "probabilities": prediction.probabilities });
    if !prediction.id.is_empty() {
        row["id"] = prediction.id.as_str().into();
    }
    row
}
