//! The pipeline that `pipe init` writes, with comments.

use std::path::{Component, Path};

use super::guess::Fields;
use super::recipe::Recipe;
use super::survey::Survey;
use crate::text::figures::count;
use crate::text::terminal::wrapped;

/// What to write into the pipeline.
pub struct Wanted<'a> {
    pub survey: &'a Survey,
    pub fields: &'a Fields,
    /// The data file as written in the YAML.
    pub data: &'a str,
    pub test: Option<&'a str>,
    /// The pretrained model to fine-tune. Without one, the pipeline trains the baseline only.
    pub model: Option<&'a str>,
    /// The hidden units of that model.
    pub width: u64,
}

/// Writes the YAML.
pub fn pipeline(wanted: &Wanted) -> String {
    let mut text = String::new();
    let mut line = |line: &str| {
        text.push_str(line);
        text.push('\n');
    };
    for comment in about(wanted).lines() {
        line(&format!("# {comment}"));
    }
    line("");
    line("vars:");
    line(&format!("  data: {}", quoted(wanted.data)));
    if let Some(test) = wanted.test {
        line(&format!("  test: {}", quoted(test)));
    }
    if let Some(model) = wanted.model {
        line(&format!("  model: {}", quoted(model)));
    }
    let labels: Vec<String> = wanted.fields.labels.iter().map(|label| quoted(label)).collect();
    line(&format!("  labels: [{}]", labels.join(", ")));
    line("  seed: 42");
    line("");
    line("stages:");
    line("  ingest:                  # reads and checks the data");
    let test = if wanted.test.is_some() { ", test: \"${test}\"" } else { "" };
    line(&format!("    inputs: {{train: \"${{data}}\"{test}}}"));
    line("    params:");
    line(&format!("      format: {}", wanted.survey.format.name()));
    let fields = wanted.fields;
    for (name, field) in [
        ("text_field", Some(&fields.text)),
        ("label_field", Some(&fields.label)),
        ("id_field", fields.id.as_ref()),
        ("context_field", fields.context.as_ref()),
    ] {
        if let Some(field) = field {
            line(&format!("      {name}: {}", quoted(field)));
        }
    }
    line("      labels: \"${labels}\"");
    line("");
    line("  split:                   # nine tenths to train with, the rest to validate");
    line("    inputs: {examples: ingest:train}");
    // Replies to one tweet are alike, so that a split between them would leak.
    let together = if fields.context.is_some() { ", group_conversations: true" } else { "" };
    line(&format!("    params: {{share: 0.9, seed: \"${{seed}}\", stratify: true{together}}}"));
    line("");
    line("  baseline:                # words and letters, a linear model: seconds, no download");
    line(&format!(
        "    inputs: {{train: split:train, valid: split:valid{}}}",
        tested(wanted, "ingest")
    ));
    if wanted.model.is_some() {
        fine_tuning(wanted, &mut line);
    } else if wanted.test.is_some() {
        line("    publish: {answer: answer.txt}");
    }
    line("");
    line("  score:                   # accuracy, precision, recall, F1, with intervals");
    match wanted.model {
        Some(_) => line("    inputs: {valid: predict:valid, against: baseline:valid}"),
        None => line("    inputs: {valid: baseline:valid}"),
    }
    line("    publish: {scores: scores.json}");
    text
}

fn fine_tuning(wanted: &Wanted, line: &mut impl FnMut(&str)) {
    line("");
    line("  tokenize:                # cuts the texts into the model's tokens");
    let test = tested(wanted, "ingest");
    line(&format!(
        "    inputs: {{train: split:train, valid: split:valid{test}, model: \"${{model}}\"}}"
    ));
    line("    params: {labels: \"${labels}\"}");
    line("");
    line("  finetune:                # trains the model; see `pipe stages finetune`");
    line("    inputs: {train: tokenize:train, valid: tokenize:valid, model: \"${model}\"}");
    // `split` keeps nine tenths of the rows to train with.
    let rows = (wanted.survey.rows * 9).div_ceil(10);
    let recipe = Recipe::new(rows, wanted.fields.labels.len(), wanted.width);
    let Recipe { epochs, batch_size, learning_rate } = recipe;
    line("    params:                # by the rows, the labels and the size of the model");
    line(&format!("      epochs: {epochs}"));
    line(&format!("      batch_size: {batch_size}"));
    line(&format!("      learning_rate: {learning_rate:.1e}"));
    line("      warmup_ratio: 0.1");
    line("      seed: \"${seed}\"");
    line("");
    line("  predict:");
    line(&format!(
        "    inputs: {{valid: tokenize:valid{}, model: finetune:model}}",
        tested(wanted, "tokenize")
    ));
    if wanted.test.is_some() {
        line("    publish: {answer: answer.txt}");
    }
}

fn tested(wanted: &Wanted, stage: &str) -> String {
    wanted.test.map_or(String::new(), |_| format!(", test: {stage}:test"))
}

/// What was found in the file and guessed, in words.
pub fn about(wanted: &Wanted) -> String {
    let (survey, fields) = (wanted.survey, wanted.fields);
    let counts = survey.field(&fields.label).map(|field| &field.values);
    const SHOWN: usize = 6;
    let label = |label: &String| {
        let rows = counts.and_then(|counts| counts.get(label)).copied().unwrap_or(0);
        format!("{} ({rows})", printable(label))
    };
    let mut labels: Vec<String> = fields.labels.iter().take(SHOWN).map(label).collect();
    if fields.labels.len() > SHOWN {
        labels.push(format!("and {} more", fields.labels.len() - SHOWN));
    }
    let others = [("id", &fields.id), ("context", &fields.context)].into_iter();
    let others = others.filter_map(|(what, name)| {
        name.as_ref().map(|name| format!(", the {what} in `{}`", printable(name)))
    });
    let paragraph = format!(
        "From {}: {}, {}. The text is in `{}`, the label in `{}`{}; {}: {}.",
        printable(wanted.data),
        survey.format.name().to_uppercase(),
        count(survey.rows as usize, "row"),
        printable(&fields.text),
        printable(&fields.label),
        others.collect::<String>(),
        count(fields.labels.len(), "label"),
        labels.join(", "),
    );
    // In the YAML, `# ` comes before each line.
    wrapped(&paragraph, 2).lines().map(|line| line.trim_start().to_owned() + "\n").collect()
}

/// A name without control characters, for a comment.
fn printable(text: &str) -> String {
    crate::text::terminal::printable(text)
}

/// A text as a YAML scalar on one line, quoted if YAML would read it as something else.
fn quoted(text: &str) -> String {
    const WORDS: [&str; 10] = ["true", "false", "yes", "no", "on", "off", "null", "y", "n", "nan"];
    let plain = text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && text.chars().all(|it| it.is_ascii_alphanumeric() || "_-./".contains(it))
        && !WORDS.contains(&text.to_ascii_lowercase().as_str());
    if plain {
        return text.to_owned();
    }
    // A JSON string is a YAML string. `$${` keeps a literal `${`.
    serde_json::to_string(&text.replace("${", "$${")).unwrap_or_default()
}

/// The path of `file` for a pipeline in `folder`: relative if the file is inside. Both must be
/// absolute.
pub fn source(file: &Path, folder: &Path) -> String {
    let path = file.strip_prefix(folder).unwrap_or(file);
    let first = path.components().next();
    let text = path.to_string_lossy();
    let is_plain = matches!(first, Some(Component::RootDir)) || !text.contains(':');
    if is_plain { text.into_owned() } else { format!("./{text}") }
}
