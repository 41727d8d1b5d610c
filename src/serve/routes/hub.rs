//! `POST /`, as the hub's inference API and the pipelines of `transformers` have it.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use serde_json::Value;

use crate::serve::refusal::{Kind, Refusal};
use crate::serve::reply;
use crate::serve::request::{Fields, body, unexpected};
use crate::serve::scored::{Outputs, scored};
use crate::serve::service::{Asked, Service};
use crate::serve::texts::GivenTexts;

/// What `parameters` ask for.
struct Wanted {
    outputs: Outputs,
    /// How many labels of each text.
    most: usize,
}

/// A list for each text, also if there is only one: `InferenceClient` takes the first of them.
pub async fn answer(
    State(service): State<Arc<Service>>,
    request: Request,
) -> Result<Response, Refusal> {
    let body = body(request, &service.settings).await?;
    let answered = service.answer(body, read).await?;
    let Wanted { outputs, most } = answered.rest;
    let list = |scores| {
        let mut labels = scored(&answered.model, scores, outputs);
        labels.truncate(most);
        Value::Array(labels)
    };
    Ok(reply::json(&Value::Array(answered.scores.iter().map(list).collect())))
}

fn read(mut fields: Fields) -> Result<Asked<Wanted>, Refusal> {
    let texts = GivenTexts::of_hub(fields.need("inputs")?)?;
    // How the hub caches answers and waits for models.
    fields.take("options");
    let parameters = fields.take("parameters");
    fields.end()?;
    let mut wanted = Wanted { outputs: Outputs::OfTask, most: usize::MAX };
    let mut refuses_long = false;
    if let Some(parameters) = parameters {
        let mut parameters = Fields::of(parameters, "parameters")?;
        wanted.outputs = function(&mut parameters)?;
        wanted.most = top(&mut parameters)?;
        refuses_long = parameters.switch("truncation")? == Some(false);
        parameters.end()?;
    }
    Ok(Asked { texts, refuses_long, cut_side: None, rest: wanted })
}

fn function(parameters: &mut Fields) -> Result<Outputs, Refusal> {
    let name = "function_to_apply";
    let place = parameters.place(name);
    match parameters.text(name)?.as_deref() {
        None => Ok(Outputs::OfTask),
        Some("none") => Ok(Outputs::Raw),
        Some("sigmoid") => Ok(Outputs::Sigmoid),
        Some("softmax") => Ok(Outputs::Softmax),
        Some(other) => {
            let expected = "expected `softmax`, `sigmoid` or `none`";
            Err(Refusal::new(Kind::Shape, format!("`{place}`: {expected}, found `{other}`")))
        }
    }
}

fn top(parameters: &mut Fields) -> Result<usize, Refusal> {
    let place = parameters.place("top_k");
    match parameters.take("top_k") {
        None => Ok(usize::MAX),
        Some(given) => match given.as_u64().filter(|count| *count > 0) {
            Some(count) => Ok(usize::try_from(count).unwrap_or(usize::MAX)),
            None if given.is_number() => {
                let problem =
                    format!("`{place}`: expected a whole number from 1 on, found {given}");
                Err(Refusal::new(Kind::Shape, problem))
            }
            None => Err(unexpected(&format!("`{place}`"), "a whole number", &given)),
        },
    }
}
