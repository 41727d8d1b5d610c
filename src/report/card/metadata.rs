//! The YAML at the top of a card, which the hub reads. `model-index` is the format of Papers with Code:
//! results by task, data set and metric (huggingface.co/docs/hub/model-cards#evaluation-results).

use serde::Serialize;
use stages::data::task::Task;

use super::facts::{ModelCard, Scored, Source};
use crate::pipeline::Input;
use crate::report::data::{Evaluation, Figure};

/// All texts that get a label, labels or a number have this one on the hub.
const TASK: &str = "text-classification";

#[derive(Serialize)]
struct Metadata {
    #[serde(skip_serializing_if = "Option::is_none")]
    base_model: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    datasets: Vec<String>,
    library_name: &'static str,
    pipeline_tag: &'static str,
    tags: Vec<&'static str>,
    #[serde(rename = "model-index", skip_serializing_if = "Vec::is_empty")]
    model_index: Vec<IndexedModel>,
}

#[derive(Serialize)]
struct IndexedModel {
    name: String,
    results: Vec<IndexedResult>,
}

#[derive(Serialize)]
struct IndexedResult {
    task: IndexedTask,
    dataset: IndexedData,
    metrics: Vec<IndexedMetric>,
}

#[derive(Serialize)]
struct IndexedTask {
    r#type: &'static str,
    name: &'static str,
}

#[derive(Serialize)]
struct IndexedData {
    r#type: String,
    name: String,
    split: String,
}

#[derive(Serialize)]
struct IndexedMetric {
    r#type: &'static str,
    value: f64,
    name: String,
}

/// The metadata, without the lines around it.
pub fn yaml(card: &ModelCard) -> String {
    let made = card.made.as_ref();
    let data = made.map_or(&[][..], |made| &made.data);
    let base = made.and_then(|made| made.base.as_ref()).and_then(repository);
    let scored = card.scored.iter().filter(|it| !it.evaluation.figures.is_empty());
    let results: Vec<IndexedResult> = scored.map(result).collect();
    let index = IndexedModel { name: card.name.clone(), results };
    let mut tags = vec!["pipe", TASK];
    match card.model.task {
        Task::Single => {}
        Task::Multi => tags.push("multi-label"),
        Task::Regression => tags.push("regression"),
    }
    let mut datasets: Vec<String> = Vec::new();
    for name in data.iter().filter_map(repository) {
        if !datasets.contains(&name) {
            datasets.push(name);
        }
    }
    let metadata = Metadata {
        base_model: base,
        datasets,
        library_name: "transformers",
        pipeline_tag: TASK,
        tags,
        model_index: if index.results.is_empty() { Vec::new() } else { vec![index] },
    };
    // Texts and finite numbers in structs can always be written.
    serde_yaml::to_string(&metadata).unwrap_or_default()
}

fn result(scored: &Scored) -> IndexedResult {
    let Scored { evaluation: found, data } = scored;
    let hub = data.iter().find_map(repository);
    let files: Vec<String> = data.iter().map(super::text::file_name).collect();
    let name = hub.clone().unwrap_or_else(|| files.join(", "));
    let split = found.artifact.rsplit(':').next().unwrap_or_default();
    IndexedResult {
        task: IndexedTask { r#type: TASK, name: "Text Classification" },
        dataset: IndexedData {
            // The hub asks for a name of its own; data that it does not have get what it says of such.
            r#type: hub.unwrap_or_else(|| "custom".to_owned()),
            name: if name.is_empty() { "unknown".to_owned() } else { name },
            split: if split == "predictions" { "test" } else { split }.to_owned(),
        },
        metrics: found
            .figures
            .iter()
            .filter(|it| it.value.is_finite())
            .map(|it| metric(it, found))
            .collect(),
    }
}

fn metric(figure: &Figure, of: &Evaluation) -> IndexedMetric {
    let name = figure.name.replace('_', " ");
    let level = of.confidence.map_or(String::new(), |it| format!("{:.0} % ", 100.0 * it));
    let interval =
        figure.interval.map(|[low, high]| format!(" ({level}interval {low:.3} to {high:.3})"));
    IndexedMetric {
        r#type: kind(figure.name),
        value: figure.value,
        name: format!("{name}{}", interval.unwrap_or_default()),
    }
}

/// The metric's name on the hub, where that is another one.
fn kind(name: &'static str) -> &'static str {
    match name {
        "micro_precision" | "macro_precision" => "precision",
        "micro_recall" | "macro_recall" => "recall",
        "micro_f1" | "macro_f1" | "weighted_f1" => "f1",
        "pearson" => "pearsonr",
        "spearman" => "spearmanr",
        other => other,
    }
}

/// `owner/name` of what comes from the hub.
fn repository(source: &Source) -> Option<String> {
    match source.origin.as_ref()? {
        Input::Hub { repository, .. } | Input::HubData { repository, .. } => {
            Some(repository.clone())
        }
        Input::Path(_) | Input::Url { .. } | Input::Artifact { .. } => None,
    }
}
