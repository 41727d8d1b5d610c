//! Sweeps, from the section `sweeps:` or from the command line: combinations of overrides, each of
//! which makes a separate pipeline.
//!
//! ```yaml
//! sweeps:
//!   rates:                                       # every combination of the lists
//!     finetune.learning_rate: [1.0e-5, 2.0e-5]
//!     seed: [1, 2, 3]
//!     metric: score.valid_f1
//!     over: seed
//!   record:                                      # exactly these
//!     base: {finetune.batch_size: 32}
//!     runs: [{finetune.epochs: 4}, {finetune.epochs: 6, split.share: 0.8}]
//! ```
//!
//! A key is an override key as `--set` takes it. A sweep overrides the file and the profile, and
//! `--set` overrides the sweep.

use std::path::Path;

use super::document::{Document, FileText};
use super::marks::Origin;
use super::model::Overrides;
use super::names::check_name;
use super::overrides::{self, Assignment};
use super::problem::{PipelineError, Problems};
use super::variables::{Dollar, Variables};
use super::yaml::{YamlEntry, YamlNode, YamlValue};

/// Upper bound on the combinations of a sweep: more is surely a mistake.
pub const MAX_COMBINATIONS: usize = 10_000;

/// One sweep of the file.
#[derive(Clone, Debug)]
pub struct Sweep {
    pub name: String,
    /// The line of its declaration in the file, from 1.
    pub line: usize,
    /// The `stage.metric` that the table is sorted by.
    pub metric: Option<String>,
    /// Whether the table is sorted with the smallest value first.
    pub ascending: bool,
    /// The keys over which the table takes means.
    pub over: Vec<String>,
    pub combinations: Vec<Combination>,
}

/// The overrides of one combination, in the order written.
pub type Combination = Vec<Assignment>;

/// A key and the values that it takes in turn.
#[derive(Clone, Debug)]
pub struct Axis {
    pub key: String,
    pub values: Vec<Assignment>,
}

/// Parses an axis as typed, `finetune.epochs=2,4`. Commas in brackets or quotes do not separate
/// values. `index` is its position among the arguments passed to
/// [`load_combinations`](super::load::load_combinations).
pub fn typed_axis(index: usize, key: &str, values: &str) -> Axis {
    let origin = Origin::Axis(index);
    let assignment = |text: &str| {
        // Invalid YAML in brackets becomes a text, which the type of the parameter then refuses.
        let value = overrides::typed(key, text, origin, None);
        Assignment { key: key.to_owned(), origin, value }
    };
    Axis { key: key.to_owned(), values: at_commas(values).into_iter().map(assignment).collect() }
}

fn at_commas(text: &str) -> Vec<&str> {
    let (mut parts, mut start, mut depth, mut quote) = (Vec::new(), 0, 0usize, None);
    for (at, character) in text.char_indices() {
        match (character, quote) {
            (_, Some(open)) => quote = (character != open).then_some(open),
            ('"' | '\'', None) => quote = Some(character),
            ('[' | '{', None) => depth += 1,
            (']' | '}', None) => depth = depth.saturating_sub(1),
            (',', None) if depth == 0 => {
                parts.push(text[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(text[start..].trim());
    parts
}

/// Combines each combination with each value of the axes; the last axis varies fastest. A value
/// replaces one of the same key.
pub fn product(combinations: Vec<Combination>, axes: &[Axis]) -> Vec<Combination> {
    let longer = |combinations: Vec<Combination>, axis: &Axis| {
        let with = |combination: &Combination, value: &Assignment| {
            let mut longer = combination.clone();
            assign(&mut longer, value.clone());
            longer
        };
        let each = |combination: Combination| {
            axis.values.iter().map(|value| with(&combination, value)).collect::<Vec<_>>()
        };
        combinations.into_iter().flat_map(each).collect()
    };
    axes.iter().fold(combinations, longer)
}

fn assign(combination: &mut Combination, value: Assignment) {
    match combination.iter_mut().find(|known| known.key == value.key) {
        Some(known) => *known = value,
        None => combination.push(value),
    }
}

/// Loads the sweeps of a file.
///
/// # Errors
///
/// As [`Pipeline::load`](super::model::Pipeline::load), with the problems of overrides and sweeps.
pub fn load_sweeps(file: &Path, overrides: &Overrides) -> Result<Vec<Sweep>, PipelineError> {
    let source = FileText::read(file)?;
    let registry = stages::all();
    let mut problems = Problems::new(&source.text, overrides, &[]);
    let mut document = Document::read(&source.text, None, &mut problems);
    overrides::apply(&mut document, &[], overrides, registry, &mut problems);
    let variables = Variables::evaluate(document.vars.clone(), &mut problems);
    let sweeps = read_sweeps(&document, &variables, registry, &mut problems);
    if !problems.is_empty() {
        return Err(problems.into_error(file));
    }
    Ok(sweeps)
}

/// Reads and checks the section `sweeps`.
pub(super) fn read_sweeps(
    document: &Document,
    variables: &Variables,
    registry: &[&dyn stages::Stage],
    problems: &mut Problems,
) -> Vec<Sweep> {
    let mut reader = SweepReader { document, variables, registry, problems };
    document.sweeps.iter().map(|sweep| reader.sweep(sweep)).collect()
}

struct SweepReader<'a, 'p, 't> {
    document: &'a Document,
    variables: &'a Variables,
    registry: &'a [&'a dyn stages::Stage],
    problems: &'p mut Problems<'t>,
}

impl SweepReader<'_, '_, '_> {
    fn sweep(&mut self, given: &YamlEntry) -> Sweep {
        let name = &given.key;
        check_name("sweep", name, given.key_origin, self.problems);
        let mut sweep = Sweep {
            name: name.clone(),
            line: given.key_origin.line(),
            metric: None,
            ascending: false,
            over: Vec::new(),
            combinations: vec![Vec::new()],
        };
        let what = format!("sweep `{name}`");
        let (mut axes, mut base, mut over) = (Vec::new(), Vec::new(), None);
        let mut runs: Option<Vec<Combination>> = None;
        for entry in self.entries(&given.value, &what) {
            match entry.key.as_str() {
                "base" => base = self.assignments(&entry.value, &format!("`base` of {what}")),
                "product" => {
                    let what = format!("`product` of {what}");
                    for entry in self.entries(&entry.value, &what) {
                        axes.extend(self.axis(entry, &what));
                    }
                }
                "runs" => {
                    let what = format!("`runs` of {what}");
                    let items = self.list(&entry.value, &what);
                    let each = items.iter().map(|item| self.assignments(item, &what));
                    runs = Some(each.collect());
                }
                "metric" => sweep.metric = self.metric(&entry.value, &what),
                "order" => sweep.ascending = self.ascending(&entry.value, &what),
                "over" => over = Some(&entry.value),
                _ => axes.extend(self.axis(entry, &what)),
            }
        }
        let runs = runs.unwrap_or_else(|| vec![Vec::new()]);
        let size =
            axes.iter().try_fold(runs.len(), |size, axis| size.checked_mul(axis.values.len()));
        if size.is_none_or(|size| size > MAX_COMBINATIONS) {
            let message = format!("{what} has over {MAX_COMBINATIONS} combinations");
            self.problems.at(given.key_origin, message);
            return sweep;
        }
        let over_base = |run: Combination| {
            let mut combination = base.clone();
            run.into_iter().for_each(|value| assign(&mut combination, value));
            combination
        };
        sweep.combinations = product(runs.into_iter().map(over_base).collect(), &axes);
        if let Some(over) = over {
            sweep.over = self.over(over, &sweep, &what);
        }
        sweep
    }

    fn entries<'n>(&mut self, node: &'n YamlNode, what: &str) -> &'n [YamlEntry] {
        match &node.content {
            YamlValue::Map(entries) if !entries.is_empty() => return entries,
            YamlValue::Map(_) => self.problems.at(node.origin, format!("{what} is empty")),
            _ => {
                let message = format!("{what} must be a map, not {}", node.what());
                self.problems.at(node.origin, message)
            }
        }
        .help("write `stage.parameter: [one, two]`, or `runs:` with a list of maps".to_owned());
        &[]
    }

    /// The items of a list, which may come from a variable.
    fn list(&mut self, node: &YamlNode, what: &str) -> Vec<YamlNode> {
        let mut node = node.clone();
        if node.as_text().is_some() {
            self.variables.fill(&mut node, Dollar::Pipeline, self.problems);
        }
        match node.content {
            YamlValue::List(items) if !items.is_empty() => items,
            YamlValue::List(_) => {
                self.problems.at(node.origin, format!("{what} is an empty list"));
                Vec::new()
            }
            _ => {
                let message = format!("{what} must be a list, not {}", node.what());
                let problem = self.problems.with(&node, message);
                problem.help("put what all combinations share under `base:`".to_owned());
                Vec::new()
            }
        }
    }

    fn axis(&mut self, given: &YamlEntry, what: &str) -> Option<Axis> {
        self.check_key(&given.key, given.key_origin)?;
        let items = self.list(&given.value, &format!("`{}` in {what}", given.key));
        let mut values: Vec<Assignment> = Vec::new();
        for value in items {
            if values.iter().any(|known| known.value() == value.to_json()) {
                let message =
                    format!("`{}` in {what} has the value {} twice", given.key, value.to_json());
                self.problems.with(&value, message);
                continue;
            }
            values.push(Assignment { key: given.key.clone(), origin: given.key_origin, value });
        }
        Some(Axis { key: given.key.clone(), values })
    }

    fn assignments(&mut self, node: &YamlNode, what: &str) -> Combination {
        let mut combination = Vec::new();
        for YamlEntry { key, key_origin, value } in self.entries(node, what) {
            if self.check_key(key, *key_origin).is_some() {
                let (key, origin, value) = (key.clone(), *key_origin, value.clone());
                combination.push(Assignment { key, origin, value });
            }
        }
        combination
    }

    fn check_key(&mut self, key: &str, origin: Origin) -> Option<()> {
        overrides::check(self.document, key, origin, self.registry, self.problems)
    }

    fn metric(&mut self, node: &YamlNode, what: &str) -> Option<String> {
        let help = "write `stage.metric`, such as `score.valid_f1`";
        let Some(text) = node.as_text() else {
            let message = format!("`metric` of {what} must be a text, not {}", node.what());
            self.problems.with(node, message).help(help.to_owned());
            return None;
        };
        let stage = text.split_once('.').map_or(text, |(stage, _)| stage);
        if !text.contains('.') || !self.document.stages.iter().any(|draft| draft.name == stage) {
            let known: Vec<&str> =
                self.document.stages.iter().map(|draft| draft.name.as_str()).collect();
            let message = format!("`metric` of {what}: there is no stage `{stage}`");
            let problem = self.problems.with(node, message);
            problem.help(help.to_owned()).nearest(stage, known);
        }
        Some(text.to_owned())
    }

    fn ascending(&mut self, node: &YamlNode, what: &str) -> bool {
        match node.as_text() {
            Some("ascending") => true,
            Some("descending") => false,
            text => {
                let found = text.map_or(node.what().to_owned(), |text| format!("`{text}`"));
                let message = format!("`order` of {what} is {found}");
                let problem = self.problems.with(node, message);
                problem.nearest_or_all(text.unwrap_or_default(), &["ascending", "descending"]);
                false
            }
        }
    }

    /// Reads `over`: one key, or a list of keys.
    fn over(&mut self, node: &YamlNode, sweep: &Sweep, what: &str) -> Vec<String> {
        let one = [node.clone()];
        let items: &[YamlNode] = match &node.content {
            YamlValue::List(items) => items,
            _ => &one,
        };
        let mut keys = Vec::new();
        for item in items {
            let key = item.as_text().unwrap_or_default();
            let known: Vec<&str> = keys_of(&sweep.combinations);
            if known.contains(&key) {
                keys.push(key.to_owned());
            } else {
                let message = format!("`over` of {what}: `{key}` is not a key of the sweep");
                self.problems.with(item, message).nearest_or_all(key, &known);
            }
        }
        keys
    }
}

/// The keys that the combinations set, in the order of their first occurrence.
pub fn keys_of(combinations: &[Combination]) -> Vec<&str> {
    let mut keys = Vec::new();
    let mut known = std::collections::BTreeSet::new();
    for assignment in combinations.iter().flatten() {
        if known.insert(assignment.key.as_str()) {
            keys.push(assignment.key.as_str());
        }
    }
    keys
}
