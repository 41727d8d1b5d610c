//! The YAML at the top of a card, which the hub reads. `model-index` is the format of Papers with Code:
//! results by task, data set and metric (huggingface.co/docs/hub/model-cards#evaluation-results).

use std::fmt::Write;

use stages::data::task::Task;

use super::facts::{ModelCard, Scored, Source, Start};
use super::text::file_name;
use crate::pipeline::Input;
use crate::report::data::{Evaluation, Figure};
use crate::text::terminal::printable;

/// All texts that get a label, labels or a number have this one on the hub.
const TASK: &str = "text-classification";

/// The metadata, without the lines around it.
pub fn yaml(card: &ModelCard) -> String {
    let made = card.made.as_ref();
    let mut text = String::new();
    if let Some(Start::Model(base)) = made.and_then(|made| made.start.as_ref())
        && let Some(name) = repository(base)
    {
        let _ = writeln!(text, "base_model: {}", quoted(&name));
    }
    let mut datasets: Vec<String> = Vec::new();
    for name in made.iter().flat_map(|made| &made.data).filter_map(repository) {
        if !datasets.contains(&name) {
            datasets.push(name);
        }
    }
    if !datasets.is_empty() {
        text.push_str("datasets:\n");
        datasets.iter().for_each(|name| {
            let _ = writeln!(text, "- {}", quoted(name));
        });
    }
    let _ =
        write!(text, "library_name: transformers\npipeline_tag: {TASK}\ntags:\n- pipe\n- {TASK}\n");
    text.push_str(match card.model.task {
        Task::Single => "",
        Task::Multi => "- multi-label\n",
        Task::Regression => "- regression\n",
    });
    let scored: Vec<&Scored> =
        card.scored.iter().filter(|it| !it.evaluation.figures.is_empty()).collect();
    if !scored.is_empty() {
        let _ = write!(text, "model-index:\n- name: {}\n  results:\n", quoted(&card.name));
        scored.into_iter().for_each(|it| add_result(it, &mut text));
    }
    text
}

/// A text in YAML. Without the quotes a reader of YAML 1.1, as the hub's are, may take a name for a date,
/// a number or a truth value. The strings of JSON are strings of YAML too.
fn quoted(name: &str) -> String {
    serde_json::Value::from(printable(name)).to_string()
}

fn add_result(scored: &Scored, text: &mut String) {
    let Scored { evaluation: found, data } = scored;
    let hub = data.iter().find_map(repository);
    let files: Vec<String> = data.iter().map(file_name).collect();
    let name = hub.clone().unwrap_or_else(|| files.join(", "));
    let name = if name.is_empty() { "unknown" } else { &name };
    let split = found.artifact.rsplit(':').next().unwrap_or_default();
    let split = if split == "predictions" { "test" } else { split };
    // The hub asks for a name of its own; data that it does not have get what it says of such.
    let kind = hub.as_deref().unwrap_or("custom");
    let _ = write!(
        text,
        "  - task:\n      type: {TASK}\n      name: Text Classification\n    dataset:\n      \
         type: {}\n      name: {}\n      split: {}\n    metrics:\n",
        quoted(kind),
        quoted(name),
        quoted(split)
    );
    let figures = found.figures.iter().filter(|it| it.value.is_finite());
    figures.for_each(|it| add_metric(it, found, text));
}

fn add_metric(figure: &Figure, of: &Evaluation, text: &mut String) {
    let name = figure.name.replace('_', " ");
    let level = of.confidence.map_or(String::new(), |it| format!("{:.0} % ", 100.0 * it));
    let interval =
        figure.interval.map(|[low, high]| format!(" ({level}interval {low:.3} to {high:.3})"));
    let _ = write!(
        text,
        "    - type: {}\n      value: {}\n      name: {}\n",
        kind(figure.name),
        serde_json::Value::from(figure.value),
        quoted(&format!("{name}{}", interval.unwrap_or_default()))
    );
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
