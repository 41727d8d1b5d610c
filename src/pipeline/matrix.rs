//! Expands `foreach` and `matrix`: one stage of the file becomes several variants, which differ in
//! the value of `${item}` or `${matrix.name}`. `${variant}` is the label of the variant, so that
//! `train@${variant}:model` refers to the same variant of another stage.

use super::document::Draft;
use super::marks::Origin;
use super::names::{ITEM, MATRIX, RULE, check_name};
use super::problem::Problems;
use super::variables::{Dollar, Variables};
use super::yaml::{YamlEntry, YamlNode, YamlValue};
use crate::text::variants::{MARK, value_label};

/// Upper bound on the variants of a stage: more is surely a mistake.
const MAX_VARIANTS: usize = 10_000;

/// Upper bound on a name with its label, in bytes, so that it can name a file.
const MAX_NAME: usize = 200;

/// The variable that holds the label of the variant.
const VARIANT: &str = "variant";

/// A value that variants take, and its label in their names.
#[derive(Clone)]
struct Choice {
    label: String,
    value: YamlNode,
}

/// Replaces every stage that has `foreach` or `matrix` by its variants, in the order written.
pub(super) fn expand(
    drafts: Vec<Draft>,
    variables: &Variables,
    problems: &mut Problems,
) -> Vec<Draft> {
    let mut expanded = Vec::with_capacity(drafts.len());
    for mut draft in drafts {
        let (foreach, matrix) = (draft.foreach.take(), draft.matrix.take());
        match (foreach, matrix) {
            (None, None) => expanded.push(draft),
            (Some(foreach), Some(_)) => {
                let message = format!("stage `{}` has both `foreach` and `matrix`", draft.name);
                let problem = problems.at(foreach.origin, message).stage(&draft.name);
                problem.help("write both as axes of one `matrix`".to_owned());
            }
            (Some(foreach), None) => {
                let what = format!("`foreach` of stage `{}`", draft.name);
                let choices = choices(foreach, &what, &draft, variables, problems);
                for Choice { label, value } in choices {
                    let locals = vec![(ITEM.to_owned(), value)];
                    expanded.extend(variant(&draft, label, locals, problems));
                }
            }
            (None, Some(matrix)) => {
                for row in product(matrix, &draft, variables, problems) {
                    let parts: Vec<String> =
                        row.iter().map(|(axis, it)| format!("{axis}={}", it.label)).collect();
                    let local =
                        |(axis, it): (String, Choice)| (format!("{MATRIX}.{axis}"), it.value);
                    let locals = row.into_iter().map(local).collect();
                    expanded.extend(variant(&draft, parts.join(","), locals, problems));
                }
            }
        }
    }
    expanded
}

fn variant(
    draft: &Draft,
    label: String,
    mut locals: Vec<(String, YamlNode)>,
    problems: &mut Problems,
) -> Option<Draft> {
    let name = format!("{}{MARK}{label}", draft.name);
    if name.len() > MAX_NAME {
        let message = format!("`{name}` is too long for a name: {} characters", name.len());
        let problem = problems.at(draft.origin, message).stage(&draft.name);
        problem.help("give the values short names: `{short: a long value, …}`".to_owned());
        return None;
    }
    locals.push((VARIANT.to_owned(), YamlNode::scalar(label.into(), draft.origin)));
    Some(Draft { name, locals, ..draft.clone() })
}

/// Every combination of the axes; the last axis varies fastest.
fn product(
    matrix: YamlNode,
    draft: &Draft,
    variables: &Variables,
    problems: &mut Problems,
) -> Vec<Vec<(String, Choice)>> {
    let stage = &draft.name;
    let (origin, what) = (matrix.origin, matrix.what());
    let axes = match matrix.content {
        YamlValue::Map(axes) if !axes.is_empty() => axes,
        YamlValue::Map(_) => {
            problems.at(origin, format!("`matrix` of stage `{stage}` is empty")).stage(stage);
            return Vec::new();
        }
        _ => {
            let message = format!("`matrix` of stage `{stage}` must be a map, not {what}");
            let problem = problems.at(origin, message).stage(stage);
            problem.help("write `matrix: {seed: [1, 2, 3]}`, or `foreach: [1, 2, 3]`".to_owned());
            return Vec::new();
        }
    };
    let mut rows: Vec<Vec<(String, Choice)>> = vec![Vec::new()];
    for YamlEntry { key: axis, key_origin, value } in axes {
        check_name("matrix's axis", &axis, key_origin, problems);
        let what = format!("`{axis}` in `matrix` of stage `{stage}`");
        let choices = choices(value, &what, draft, variables, problems);
        if rows.len().saturating_mul(choices.len()) > MAX_VARIANTS {
            let message = format!("`matrix` of stage `{stage}` makes over {MAX_VARIANTS} variants");
            problems.at(origin, message).stage(stage);
            return Vec::new();
        }
        let longer = |row: Vec<(String, Choice)>| {
            let axis = &axis;
            let with = move |choice: &Choice| {
                let mut row = row.clone();
                row.push((axis.clone(), choice.clone()));
                row
            };
            choices.iter().map(with).collect::<Vec<_>>()
        };
        rows = rows.into_iter().flat_map(longer).collect();
    }
    rows
}

/// Reads the values of `foreach` or of one axis: a list, or a map from short names to values.
fn choices(
    mut node: YamlNode,
    what: &str,
    draft: &Draft,
    variables: &Variables,
    problems: &mut Problems,
) -> Vec<Choice> {
    let stage = &draft.name;
    variables.fill(&mut node, Dollar::Pipeline, problems);
    let mut choices: Vec<Choice> = Vec::new();
    let given: Vec<(Option<(String, Origin)>, YamlNode)> = match &node.content {
        YamlValue::List(items) => items.iter().map(|item| (None, item.clone())).collect(),
        YamlValue::Map(entries) => entries
            .iter()
            .map(|entry| (Some((entry.key.clone(), entry.key_origin)), entry.value.clone()))
            .collect(),
        YamlValue::Scalar(_) => {
            let message = format!("{what} must be a list, not {}", node.what());
            let problem = problems.with(&node, message).stage(stage);
            problem.help("write `[1, 2, 3]`, or a map from names to values".to_owned());
            return Vec::new();
        }
    };
    if given.is_empty() {
        problems.with(&node, format!("{what} has no values")).stage(stage);
    }
    for (name, value) in given {
        let scalar = match &value.content {
            YamlValue::Scalar(scalar) if !scalar.is_null() => scalar.clone(),
            _ => {
                let message = format!("a value of {what} is {}", value.what());
                let problem = problems.with(&value, message).stage(stage);
                problem.help("write a text, a number, `true` or `false`".to_owned());
                continue;
            }
        };
        let label = match &name {
            Some((name, origin)) if !is_label(name) => {
                problems
                    .at(*origin, format!("`{name}` cannot be part of a stage's name"))
                    .stage(stage)
                    .help(format!("use {}", RULE));
                continue;
            }
            Some((name, _)) => name.clone(),
            None => value_label(&scalar),
        };
        if label.is_empty() {
            problems.with(&value, format!("a value of {what} is an empty text")).stage(stage);
            continue;
        }
        if let Some(other) = choices.iter().find(|other| other.label == label) {
            let other = other.value.to_json();
            let message = match other == scalar {
                true => format!("{what} has the value {scalar} twice"),
                false => format!("{what}: {other} and {scalar} would both be called `{label}`"),
            };
            let problem = problems.with(&value, message).stage(stage);
            if other != scalar {
                problem.help("name them: a map from short names to the values".to_owned());
            }
            continue;
        }
        choices.push(Choice { label, value });
    }
    choices
}

/// Whether a name could be a label that [`value_label`] makes.
fn is_label(name: &str) -> bool {
    let fits = |character: char| character.is_ascii_alphanumeric() || "._+-".contains(character);
    !name.is_empty() && name.len() <= 100 && name.chars().all(fits)
}
