//! The pipeline that `pipe init` writes, with comments.

use std::path::{Path, PathBuf};

use serde_json::Value;
use stages::data::task::Task;

use super::InitError;
use super::auditing;
use super::proposal::Proposal;
use super::recipe::Recipe;
use super::trial::Given;
use super::wanted::{Wanted, test_reader, tested};
use crate::files::file_error::FileError;
use crate::files::pattern::{escaped, folder_and_rest};
use crate::text::figures::count;
use crate::text::terminal::wrapped;

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
    line(&format!("  data: {}", listed(wanted.data)));
    if let Some(test) = wanted.test {
        line(&format!("  test: {}", listed(test)));
    }
    if let Some(model) = wanted.model {
        line(&format!("  model: {}", quoted(model)));
    }
    if wanted.proposal.fields.task != Task::Regression {
        labels(&wanted.proposal.labels, &mut line);
    }
    line("  seed: 42");
    if wanted.audit {
        line("  folds: [0, 1, 2, 3, 4]");
    }
    line("");
    line("stages:");
    let proposal = wanted.proposal;
    let own = proposal.test.as_ref().and_then(|test| test.given.as_ref());
    line("  ingest:                  # reads and checks the data");
    let test = if wanted.test.is_some() && own.is_none() { ", test: \"${test}\"" } else { "" };
    line(&format!("    inputs: {{train: \"${{data}}\"{test}}}"));
    ingest_params(&proposal.given, &mut line);
    line("");
    if let Some(own) = own {
        line(
            "  ingest_test:             # reads the texts to classify, which are laid out otherwise",
        );
        line("    uses: ingest");
        line("    inputs: {test: \"${test}\"}");
        ingest_params(own, &mut line);
        line("");
    }
    if wanted.audit {
        auditing::stages(wanted, &mut line);
    }
    split(wanted, &mut line);
    line("  baseline:                # words and letters, a linear model: seconds, no download");
    line(&format!(
        "    inputs: {{train: split:train, valid: split:valid{}}}",
        tested(wanted, test_reader(wanted))
    ));
    if wanted.model.is_some() {
        fine_tuning(wanted, &mut line);
    } else if wanted.test.is_some() {
        line("    publish: {answer: answer.txt}");
    }
    line("");
    score(wanted, &mut line);
    text
}

fn score(wanted: &Wanted, line: &mut impl FnMut(&str)) {
    let proposal = wanted.proposal;
    line(match proposal.fields.task {
        Task::Single => {
            "  score:                   # accuracy, precision, recall, F1, with intervals"
        }
        Task::Multi => {
            "  score:                   # micro and macro F1, of each label, with intervals"
        }
        Task::Regression => "  score:                   # correlation and errors, with intervals",
    });
    let scored = |maker: &str| match &proposal.test {
        Some(test) if test.is_labelled => format!(", test: {maker}:predictions"),
        _ => String::new(),
    };
    match wanted.model {
        // What is compared is told apart by its first id. Those of the test file are all there.
        Some(_) => {
            let against = if scored("").is_empty() { "valid" } else { "predictions" };
            let test = scored("predict");
            line(&format!(
                "    inputs: {{valid: predict:valid{test}, against: baseline:{against}}}"
            ));
        }
        None => line(&format!("    inputs: {{valid: baseline:valid{}}}", scored("baseline"))),
    }
    line("    publish: {scores: scores.json}");
}

fn split(wanted: &Wanted, line: &mut impl FnMut(&str)) {
    line("  split:                   # nine tenths to train with, the rest to validate");
    let examples = if wanted.audit { "clean:examples" } else { "ingest:train" };
    line(&format!("    inputs: {{examples: {examples}}}"));
    // Replies to one tweet are alike, so that a split between them would leak.
    let together = match wanted.proposal.group_conversations {
        true => ", group_conversations: true",
        false => "",
    };
    let stratify = wanted.proposal.fields.task != Task::Regression;
    line(&format!(
        "    params: {{share: 0.9, seed: \"${{seed}}\", stratify: {stratify}{together}}}"
    ));
    line("");
}

fn fine_tuning(wanted: &Wanted, line: &mut impl FnMut(&str)) {
    line("");
    line("  tokenize:                # cuts the texts into the model's tokens");
    let test = tested(wanted, test_reader(wanted));
    line(&format!(
        "    inputs: {{train: split:train, valid: split:valid{test}, model: \"${{model}}\"}}"
    ));
    if wanted.proposal.fields.task != Task::Regression {
        line("    params: {labels: \"${labels}\"}");
    }
    line("");
    line("  finetune:                # trains the model; see `pipe stages finetune`");
    line("    inputs: {train: tokenize:train, valid: tokenize:valid, model: \"${model}\"}");
    // `split` keeps nine tenths of the rows to train with.
    let rows = (wanted.proposal.rows * 9).div_ceil(10);
    line("    params:                # by the rows, the labels and the size of the model");
    Recipe::new(rows, wanted.proposal.labels.len(), wanted.width).write(line);
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

/// A file or a pattern, or a list of several.
fn listed(files: &[String]) -> String {
    match files {
        [file] => quoted(file),
        files => {
            let files: Vec<String> = files.iter().map(|file| quoted(file)).collect();
            format!("[{}]", files.join(", "))
        }
    }
}

/// The labels: on one line if they are few.
fn labels(labels: &[(String, u64)], line: &mut impl FnMut(&str)) {
    const ON_ONE_LINE: usize = 12;
    let quoted: Vec<String> = labels.iter().map(|(label, _)| quoted(label)).collect();
    if quoted.len() <= ON_ONE_LINE {
        return line(&format!("  labels: [{}]", quoted.join(", ")));
    }
    line("  labels:");
    quoted.iter().for_each(|label| line(&format!("    - {label}")));
}

fn ingest_params(given: &Given, line: &mut impl FnMut(&str)) {
    line("    params:");
    const ORDER: [&str; 12] = [
        "format",
        "encoding",
        "delimiter",
        "header",
        "text_field",
        "task",
        "label_field",
        "label_separator",
        "label_fields",
        "id_field",
        "context_field",
        "on_error",
    ];
    for name in ORDER {
        match given.get(name) {
            Some(Value::String(text)) => line(&format!("      {name}: {}", quoted(text))),
            Some(value) => line(&format!("      {name}: {value}")),
            None => {}
        }
    }
    let is_given = |name| given.get(name).is_some_and(|field| !field.is_null());
    let are_numbers = given.get("task").is_some_and(|task| *task == Task::Regression.word());
    if (is_given("label_field") || is_given("label_fields")) && !are_numbers {
        line("      labels: \"${labels}\"");
    }
}

/// What was found in the file and guessed, in words.
pub fn about(wanted: &Wanted) -> String {
    let Proposal { layout, files, formats, rows, fields, labels, .. } = wanted.proposal;
    const SHOWN: usize = 6;
    let label = |(label, rows): &(String, u64)| format!("{} ({rows})", printable(label));
    let mut shown: Vec<String> = labels.iter().take(SHOWN).map(label).collect();
    if labels.len() > SHOWN {
        shown.push(format!("and {} more", labels.len() - SHOWN));
    }
    let others = [("label", &fields.label), ("id", &fields.id), ("context", &fields.context)];
    let others = others.into_iter().filter_map(|(what, name)| {
        name.as_ref().map(|name| format!(", the {what} in `{}`", printable(name)))
    });
    let flags = fields.flags.iter().map(|name| format!("`{}`", printable(name)));
    let flags: Vec<String> = flags.collect();
    let flags = match flags.is_empty() {
        true => String::new(),
        false => format!(", the labels are {}", flags.join(", ")),
    };
    let values = match fields.task {
        Task::Single => format!("{}: {}", count(labels.len(), "label"), shown.join(", ")),
        Task::Multi => format!(
            "{}, any number of them a text: {}",
            count(labels.len(), "label"),
            shown.join(", ")
        ),
        Task::Regression => "it is a number".to_owned(),
    };
    let separated = match layout.unusual_delimiter() {
        Some(b'\t') => " separated by tabs".to_owned(),
        Some(delimiter) => format!(" separated by `{}`", char::from(delimiter).escape_default()),
        None => String::new(),
    };
    let header = if layout.header { "" } else { " without a header" };
    let files = match files {
        1 => String::new(),
        files => format!("{}, ", count(*files, "file")),
    };
    let formats: Vec<String> = formats.iter().map(|it| it.name().to_uppercase()).collect();
    let paragraph = format!(
        "From {}: {files}{}{separated}{header}, {}. The text is in `{}`{}{flags}; {values}.",
        printable(&wanted.data.join(", ")),
        formats.join(" and "),
        count(*rows as usize, "row"),
        printable(&fields.text),
        others.collect::<String>(),
    );
    // In the YAML, `# ` comes before each line.
    let all = std::iter::once(&paragraph).chain(&wanted.proposal.notes);
    let lines = all.map(|paragraph| wrapped(paragraph, 2)).collect::<String>();
    lines.lines().map(|line| line.trim_start().to_owned() + "\n").collect()
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

/// The path of `file` for a pipeline in `folder`: relative if the file is inside, else absolute. Links
/// to folders are followed, `..` is resolved.
///
/// # Errors
/// The path is not UTF-8, or a folder cannot be found.
pub fn source(file: &Path, folder: &Path) -> Result<String, InitError> {
    let absolute = std::path::absolute(file).map_err(FileError::at("locating", file))?;
    // The last part may be a link that is meant to be followed anew in each run.
    let found = match (absolute.parent(), absolute.file_name()) {
        (Some(parent), Some(name)) => real(parent)?.join(name),
        _ => real(&absolute)?,
    };
    let folder = real(folder)?;
    let path = found.strip_prefix(&folder).unwrap_or(&found);
    let Some(text) = path.to_str() else {
        return Err(InitError::NotUtf8 { path: file.to_owned() });
    };
    Ok(written(text))
}

/// The same for a pattern: the folder in which it begins is found, and the rest stays as it is.
///
/// # Errors
/// As for [`source`].
pub fn source_of_pattern(pattern: &str, folder: &Path) -> Result<String, InitError> {
    let (begins, rest) = folder_and_rest(pattern);
    let begins = Path::new(if begins.is_empty() { "." } else { begins });
    let (begins, folder) = (real(begins)?, real(folder)?);
    let path = begins.strip_prefix(&folder).unwrap_or(&begins);
    let Some(text) = path.to_str() else {
        return Err(InitError::NotUtf8 { path: begins });
    };
    Ok(match text {
        "" => written(rest),
        text => written(&format!("{}/{rest}", escaped(text.trim_end_matches('/')))),
    })
}

fn real(path: &Path) -> Result<PathBuf, FileError> {
    path.canonicalize().map_err(FileError::at("locating", path))
}

/// A text with a colon could be an address, or the output of a stage.
fn written(path: &str) -> String {
    let is_plain = Path::new(path).is_absolute() || !path.contains(':');
    if is_plain { path.to_owned() } else { format!("./{path}") }
}
