//! What a card says to people: what the model is, how good, how to use it, how it was made, and its limits.

use std::fmt::Write;

use serde_json::Value;
use stages::data::task::Task;

use super::facts::{CardModel, Made, ModelCard, Scored, Setting, Source, Start};
use crate::pipeline::Input;
use crate::report::markdown::{add_evaluation, cell};
use crate::text::figures::{grouped, seconds};
use crate::text::shell::word;
use crate::text::terminal::printable;

/// Everything below the metadata.
pub fn body(card: &ModelCard) -> String {
    let mut text = format!("# {}\n\n{}\n\n", cell(&card.name), what(card));
    add_figures(card, &mut text);
    add_use(card, &mut text);
    if let Some(made) = &card.made {
        add_making(made, &mut text);
    }
    add_limits(card, &mut text);
    text
}

fn what(card: &ModelCard) -> String {
    let CardModel { task, labels, .. } = &card.model;
    let labels: Vec<String> = labels.iter().map(|label| span(label)).collect();
    let labels = labels.join(", ");
    let gives = match task {
        Task::Single => format!("gives a text one of the labels {labels}"),
        Task::Multi => format!("gives a text any number of the labels {labels}"),
        Task::Regression => "gives a text a number".to_owned(),
    };
    let from = match card.made.as_ref().and_then(|made| made.start.as_ref()) {
        Some(Start::Model(base)) => format!(" It was fine-tuned from {}.", described(base)),
        Some(Start::Random(Some(shape))) => {
            format!(" It was trained from random weights, in the shape of {}.", described(shape))
        }
        Some(Start::Random(None)) => " It was trained from random weights.".to_owned(),
        None => String::new(),
    };
    format!("This model {gives}.{from}")
}

fn add_figures(card: &ModelCard, text: &mut String) {
    text.push_str("## How good it is\n\n");
    if card.scored.is_empty() {
        text.push_str("No figures are on record.\n\n");
        return;
    }
    let evaluations = || card.scored.iter().map(|it| &it.evaluation);
    evaluations().for_each(|found| add_evaluation(found, text));
    if evaluations().any(|it| it.figures.iter().any(|it| it.detectable.is_some())) {
        text.push_str(
            "`shows` is the smallest difference between two models that these rows find four times out of \
             five.\n\n",
        );
    }
}

fn add_use(card: &ModelCard, text: &mut String) {
    let scores = match card.model.task {
        Task::Single | Task::Multi => ", top_k=None",
        Task::Regression => ", function_to_apply=\"none\"",
    };
    let (folder, options) = (word(&card.name), options(card));
    let command = |name: &str, text: Option<&str>| {
        let first = format!("pipe {name} --model {folder}");
        let words = [first].into_iter().chain(options.clone()).chain(text.map(str::to_owned));
        words.collect::<Vec<_>>().join(" \\\n  ")
    };
    let (classify, serve) = (command("classify", Some("'a text'")), command("serve", None));
    let _ = write!(
        text,
        "## How to use it\n\nWith transformers:\n\n```python\nfrom transformers import pipeline\n\n\
         classifier = pipeline(\"text-classification\", model=\"OWNER/{name}\"{scores})\n\
         print(classifier(\"a text\"))\n```\n\nWith `pipe`, from a folder that holds these files:\n\n\
         ```sh\n{classify}\n{serve}\n```\n\n",
        name = card.name,
    );
    let notes = notes(card);
    if !notes.is_empty() {
        text.push_str(
            "These commands do the following, and another program has to do it itself:\n\n",
        );
        notes.iter().for_each(|note| {
            let _ = writeln!(text, "- {note}");
        });
        text.push('\n');
    }
}

/// The options that make `pipe` treat texts as the pipeline did.
fn options(card: &ModelCard) -> Vec<String> {
    let settings = card.made.iter().flat_map(|made| &made.settings);
    let of_texts = settings.filter(|it| is_about_texts(it) && !it.is_default);
    let set = |it: &Setting| {
        let name = it.key.rsplit('.').next().unwrap_or_default();
        let value = match &it.value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        format!("--set {}", word(&format!("{}.{name}={value}", it.builtin)))
    };
    of_texts.map(set).collect()
}

/// Whether a setting changes what the model reads of a text.
fn is_about_texts(setting: &Setting) -> bool {
    if setting.is_earlier {
        return false;
    }
    const OF_INGEST: [&str; 4] = ["remove", "strip", "spaces", "normalize"];
    let name = setting.key.rsplit('.').next().unwrap_or_default();
    match setting.builtin.as_str() {
        "ingest" => OF_INGEST.contains(&name),
        "tokenize" => !["labels", "report"].contains(&name),
        _ => false,
    }
}

/// What a program that reads `config.json` alone does not know.
fn notes(card: &ModelCard) -> Vec<String> {
    let CardModel { labels, threshold, thresholds, windows, .. } = &card.model;
    let mut notes = Vec::new();
    if let Some(threshold) = threshold {
        let class = |place: usize| labels.get(place).map_or(String::new(), |it| span(it));
        let (class, other) = (class(threshold.class), class(1 - threshold.class.min(1)));
        notes.push(format!(
            "The answer is {class} if its probability is above {}, else {other}. The likelier label is \
             not always the answer.",
            threshold.value
        ));
    }
    if !thresholds.is_empty() {
        let each = labels.iter().zip(thresholds);
        let each: Vec<String> = each.map(|(label, it)| format!("{} {it}", span(label))).collect();
        notes.push(format!("A text has a label if its probability is above: {}.", each.join(", ")));
    }
    if let Some(windows) = windows {
        notes.push(format!(
            "A text that is longer than {} tokens is divided into windows that share {} tokens, and the \
             logits of the windows become one.",
            windows.length, windows.stride
        ));
    }
    let settings = card.made.iter().flat_map(|made| &made.settings);
    for setting in settings.filter(|it| is_about_texts(it) && !it.is_default) {
        let name = setting.key.rsplit('.').next().unwrap_or_default();
        let doc = stages::find(&setting.builtin)
            .and_then(|stage| stage.params().iter().find(|spec| spec.name == name))
            .map_or("", |spec| spec.doc);
        let set = span(&format!("{name}: {}", setting.value));
        notes.push(format!("{set} of `{}`: {doc}.", setting.builtin));
    }
    notes
}

fn add_making(made: &Made, text: &mut String) {
    text.push_str("## How it was made\n\n| | |\n|---|---|\n");
    let mut row = |name: &str, value: &str| {
        // A table's cells end at a `|`, in code too, if it is not escaped.
        let _ = writeln!(text, "| {name} | {} |", value.replace('|', "\\|"));
    };
    match &made.start {
        Some(Start::Model(base)) => {
            row("fine-tuned from", &format!("{}, `{}`", described(base), base.digest));
        }
        Some(Start::Random(Some(shape))) => {
            row("shape", &format!("{}, `{}`", described(shape), shape.digest));
        }
        Some(Start::Random(None)) | None => {}
    }
    for data in &made.data {
        row("data", &format!("{}, `{}`", described(data), data.digest));
    }
    let device = made.device.as_ref().map_or(String::new(), |it| format!(" on {}", printable(it)));
    let when = format!("{} in {}{device}", made.day, seconds(made.seconds));
    row("trained", &format!("{when}, by {} of pipe {}", span(&made.stage), span(&made.pipe)));
    for setting in &made.settings {
        row(&span(&setting.key), &span(&setting.value.to_string()));
    }
    text.push_str(
        "\nParameters that are not listed have the defaults of that version of pipe. A digest of a file is \
         BLAKE3 of its bytes; that of a folder is of the list of its files.\n\n",
    );
}

fn add_limits(card: &ModelCard, text: &mut String) {
    text.push_str("## Limits\n\n");
    if let Some(Scored { evaluation: found, .. }) = card.scored.first() {
        let _ = writeln!(
            text,
            "- The figures are of {} texts. Those of another source may be harder.",
            grouped(found.labelled)
        );
        if found.figures.iter().any(|it| it.interval.is_some()) {
            text.push_str(
                "- The intervals say what another draw of such texts would change. Another seed of the \
                 training changes the figures, too.\n",
            );
        }
    }
    text.push_str(
        "- Nothing is known about other languages, other kinds of texts, or how much the errors differ between \
         groups of people: it was not measured.\n",
    );
    if card.model.task != Task::Regression {
        text.push_str(
            "- A text that belongs to none of the kinds of texts in the training data gets an answer all the \
             same.\n",
        );
    }
}

/// A link to what is on the hub, or the name of a file.
fn described(source: &Source) -> String {
    match &source.origin {
        Some(Input::Hub { repository, .. }) => {
            format!("[{0}](https://huggingface.co/{0})", cell(repository))
        }
        Some(Input::HubData { repository, .. }) => format!(
            "{} of [{1}](https://huggingface.co/datasets/{1})",
            span(&file_name(source)),
            cell(repository)
        ),
        _ => span(&file_name(source)),
    }
}

/// The last part of a path or a URL: folders of a machine are nobody's business.
pub fn file_name(source: &Source) -> String {
    let name =
        |path: &str| path.trim_end_matches('/').rsplit('/').next().unwrap_or(path).to_owned();
    match &source.origin {
        Some(Input::Path(path)) => name(&path.to_string_lossy()),
        Some(Input::Url { url, .. }) => name(url.split(['?', '#']).next().unwrap_or(url)),
        Some(Input::Hub { repository, .. }) => repository.clone(),
        Some(Input::HubData { path, .. }) => name(path),
        Some(Input::Artifact { .. }) | None => "unknown".to_owned(),
    }
}

/// A text as code, which cannot end there.
fn span(text: &str) -> String {
    format!("`{}`", printable(text).replace('`', "'"))
}
