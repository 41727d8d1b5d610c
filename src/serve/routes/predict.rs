//! `POST /predict`, as Text Embeddings Inference has it.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use serde_json::Value;

use crate::serve::refusal::{Kind, Refusal};
use crate::serve::reply;
use crate::serve::request::{Fields, body};
use crate::serve::scored::{Outputs, scored};
use crate::serve::service::{Asked, Service};
use crate::serve::texts::GivenTexts;

pub async fn answer(
    State(service): State<Arc<Service>>,
    request: Request,
) -> Result<Response, Refusal> {
    let body = body(request, &service.settings).await?;
    let answered = service.answer(body, read).await?;
    let list = |scores| Value::Array(scored(&answered.model, scores, answered.rest));
    Ok(reply::json(&match answered.is_one {
        true => answered.scores.first().map(list).unwrap_or_default(),
        false => Value::Array(answered.scores.iter().map(list).collect()),
    }))
}

fn read(mut fields: Fields) -> Result<Asked<Outputs>, Refusal> {
    let texts = GivenTexts::of_predict(fields.need("inputs")?)?;
    let is_raw = fields.switch("raw_scores")?.unwrap_or(false);
    let refuses_long = fields.switch("truncate")? == Some(false);
    let cut_side = match fields.text("truncation_direction")? {
        Some(side) => Some(cut_side(&side)?),
        None => None,
    };
    fields.end()?;
    let rest = if is_raw { Outputs::Raw } else { Outputs::OfTask };
    Ok(Asked { texts, refuses_long, cut_side, rest })
}

fn cut_side(side: &str) -> Result<&'static str, Refusal> {
    let known = ["left", "right"].into_iter().find(|known| side.eq_ignore_ascii_case(known));
    known.ok_or_else(|| {
        let problem = format!("`truncation_direction`: expected `Left` or `Right`, found `{side}`");
        Refusal::new(Kind::Shape, problem)
    })
}
