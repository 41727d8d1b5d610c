//! What a person should look at in the inputs, as warnings, and the counts as metrics.

use std::collections::BTreeMap;

use super::params::IngestParams;
use super::report::{IngestReport, InputReport};
use crate::data::label_names::{
    listed, look_alike_warnings, missing_warning, row_count, shown, untrained_warning, yaml,
};
use crate::stage::Context;
use crate::stage::event::Event;

/// Emits the counts and the warnings.
pub fn emit_findings(context: &Context, params: &IngestParams, report: &IngestReport) {
    let inputs: Vec<(&str, &InputReport)> = [("train", &report.train), ("test", &report.test)]
        .into_iter()
        .filter_map(|(input, report)| Some((input, report.as_ref()?)))
        .collect();
    let mut values = BTreeMap::new();
    let mut warnings = Vec::new();
    for &(input, report) in &inputs {
        values.insert(format!("{input}_rows"), report.rows as f64);
        values.insert(format!("{input}_skipped"), report.skipped as f64);
        warnings.extend(of_input(report).into_iter().map(|found| format!("`{input}`: {found}")));
    }
    if let Some(shared) = report.between_train_and_test.as_ref().filter(|it| it.groups > 0) {
        let rows = row_count(shared.test_rows);
        warnings.push(format!("{rows} of `test` with a text that `train` has too"));
    }
    warnings.extend(of_labels(&inputs, params));
    warnings.into_iter().for_each(|message| context.emit(Event::Warning { message }));
    context.emit(Event::Metrics { step: None, values });
}

/// Warnings about one input.
fn of_input(report: &InputReport) -> Vec<String> {
    let mut warnings = Vec::new();
    if report.skipped > 0 {
        let plural = if report.skipped == 1 { "" } else { "s" };
        let skipped = format!("{} malformed row{plural}", report.skipped);
        warnings.push(format!("left out {skipped}; the output `skipped` has them"));
    }
    if report.empty_texts > 0 {
        warnings.push(format!("{} with an empty text", row_count(report.empty_texts)));
    }
    let conflicting = report.duplicate_texts.conflicting_groups;
    if conflicting > 0 {
        let plural = if conflicting == 1 { "" } else { "s" };
        warnings.push(format!("{conflicting} group{plural} of equal texts with different labels"));
    }
    let advice = "if it does, `label_map` can replace it by an empty text, and `on_error: skip` leaves \
                  out the rows without a label";
    warnings.extend(missing_warning(&label_rows(report), advice));
    warnings
}

/// Warnings about the labels of all inputs together.
fn of_labels(inputs: &[(&str, &InputReport)], params: &IngestParams) -> Vec<String> {
    let mut all: BTreeMap<&str, u64> = BTreeMap::new();
    for (name, rows) in inputs.iter().flat_map(|(_, report)| label_rows(report)) {
        *all.entry(name).or_default() += rows;
    }
    // The label that is meant is most likely the frequent one.
    let mut names: Vec<&str> = all.keys().copied().collect();
    names.sort_by_key(|name| std::cmp::Reverse(all[name]));
    let told = |name: &str| {
        let places = inputs.iter().filter_map(|(input, report)| {
            report.labels.get(name).map(|label| format!("{} of `{input}`", row_count(label.rows)))
        });
        places.collect::<Vec<_>>().join(", ")
    };
    let advice = |other: &str, meant: &str| {
        let (other, meant) = (yaml(other), yaml(meant));
        format!("if they are one class, set `label_map: {{{other}: {meant}}}`")
    };
    let mut warnings = look_alike_warnings(names, told, advice);
    if let [("train", train), ("test", test)] = inputs {
        let trained: Vec<&str> = train.labels.keys().map(String::as_str).collect();
        let advice = format!(
            "`train` has {}; if the names differ, `label_map` can replace them",
            listed(&label_rows(train))
        );
        warnings.extend(untrained_warning("test", &label_rows(test), &trained, &advice));
    }
    if let Some((_, train)) = inputs.iter().find(|(input, _)| *input == "train") {
        let unseen = params.labels.iter().filter(|label| !train.labels.contains_key(*label));
        let unseen: Vec<String> = unseen.map(|it| shown(it)).collect();
        if !unseen.is_empty() {
            warnings.push(format!("`labels`: no row of `train` has {}", listed_names(&unseen)));
        }
    }
    let is_replaced = |label: &String| inputs.iter().any(|(_, it)| it.replaced.contains(label));
    let unused: Vec<String> =
        params.label_map.keys().filter(|label| !is_replaced(label)).map(|it| shown(it)).collect();
    if !unused.is_empty() {
        warnings.push(format!("`label_map`: no row has the label {}", listed_names(&unused)));
    }
    warnings
}

fn label_rows(report: &InputReport) -> Vec<(&str, u64)> {
    report.labels.iter().map(|(name, label)| (name.as_str(), label.rows)).collect()
}

/// At most five names.
fn listed_names(names: &[String]) -> String {
    let mut list = names[..names.len().min(5)].join(", ");
    if names.len() > 5 {
        list += &format!(" and {} more", names.len() - 5);
    }
    list
}
