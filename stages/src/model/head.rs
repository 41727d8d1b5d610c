//! The classification head that a checkpoint brings: whether this program can use it, the name of
//! each of its classes, and which class is which label of the data. `finetune`, `predict` and
//! `classify` ask here, so that a head means the same to all of them.
//!
//! A head is taken over by the names of its classes, never by their number or order. A checkpoint
//! without names gets those that `transformers` writes in that case, `LABEL_0`, `LABEL_1` and so
//! on. They carry no meaning, so they equal no label of the data, unless `label_map` says so.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::{Map, Value};

use super::config::ModelConfig;
use super::weight_files::Checkpoint;
use crate::data::task::Task;
use crate::stage::error::StageError;

/// The head of a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckpointHead {
    /// The name of each class, in the order of the head's rows.
    pub labels: Vec<String>,
    /// Whether the names are the checkpoint's own.
    pub named: bool,
    /// What it predicts.
    pub task: Task,
}

impl CheckpointHead {
    /// The head of the checkpoint in `folder`, or `None` if it has none that classifies texts.
    ///
    /// # Errors
    /// The head does something that this program does not know, or `config.json` does not name each
    /// of its classes exactly once.
    pub fn read(folder: &Path, config: &ModelConfig) -> Result<Option<CheckpointHead>, StageError> {
        let checkpoint = Checkpoint::open(folder)?;
        let weight = checkpoint.get(&config.family.head.last_weight());
        let Some(weight) = weight.filter(|_| of_another_task(config).is_none()) else {
            return Ok(None);
        };
        let classes = weight.shape.first().copied().unwrap_or_default();
        let head = head(&config.raw, classes).map_err(|problem| StageError::File {
            path: folder.join("config.json"),
            problem: format!("{problem}; `finetune` with `head: new` replaces the head"),
        })?;
        Ok(Some(head))
    }

    /// The head of a checkpoint that must have one.
    pub fn required(folder: &Path, config: &ModelConfig) -> Result<CheckpointHead, StageError> {
        CheckpointHead::read(folder, config)?.ok_or_else(|| {
            let why = match of_another_task(config) {
                Some(task) => format!("it is a {task}"),
                None => format!("`{}` is missing", config.family.head.last_weight()),
            };
            let problem = format!(
                "the model has no head that classifies texts: {why}; `finetune` trains one"
            );
            StageError::File { path: folder.to_owned(), problem }
        })
    }

    /// The name of each class after `label_map`. Several classes may get the same name.
    ///
    /// # Errors
    /// `label_map` names a label that the head does not have.
    pub fn mapped(&self, map: &BTreeMap<String, String>) -> Result<Vec<String>, StageError> {
        if let Some(unknown) = map.keys().find(|name| !self.labels.contains(name)) {
            let known = self.labels.join(", ");
            let problem = format!("the model has no label `{unknown}`; it has {known}");
            return Err(StageError::Param { name: "label_map", problem });
        }
        let of = |name: &String| map.get(name).unwrap_or(name).clone();
        Ok(self.labels.iter().map(of).collect())
    }
}

/// For each of `labels`, the class with this name. `None` if the two do not have the same names.
pub fn classes_by_label(names: &[String], labels: &[String]) -> Option<Vec<usize>> {
    let class = |label| names.iter().position(|name| name == label);
    let classes: Option<Vec<usize>> = labels.iter().map(class).collect();
    classes.filter(|_| names.len() == labels.len())
}

/// The task of a checkpoint whose `classifier` does not classify texts.
fn of_another_task(config: &ModelConfig) -> Option<&str> {
    let named = config.raw.get("architectures")?.as_array()?.iter().filter_map(Value::as_str);
    let mut others = named.filter(|name| {
        ["ForTokenClassification", "ForMultipleChoice"].iter().any(|task| name.ends_with(task))
    });
    others.next()
}

/// The head that `config.json` describes, whose last layer has a row for each of `classes`.
fn head(raw: &Map<String, Value>, classes: usize) -> Result<CheckpointHead, String> {
    let kind = raw.get("problem_type").filter(|kind| !kind.is_null());
    // As in `transformers`, which takes a single output for a number.
    let unsaid = if classes == 1 { Task::Regression } else { Task::Single };
    let task = kind.map_or(Some(unsaid), |kind| Task::of_problem_type(kind.as_str()?));
    let task = task.ok_or_else(|| {
        let known = [Task::Single, Task::Multi, Task::Regression].map(Task::problem_type);
        format!(
            "`problem_type` is {}, expected one of {}",
            kind.unwrap_or(&Value::Null),
            known.join(", ")
        )
    })?;
    match (task, classes) {
        (_, 0) => return Err("the head has no output".to_owned()),
        (Task::Single, 1) => {
            return Err("the head has one output: it cannot choose a label".to_owned());
        }
        (Task::Regression, 2..) => {
            return Err(format!("the head gives {classes} numbers, only one is supported"));
        }
        _ => {}
    }
    let invented = || (0..classes).map(|class| format!("LABEL_{class}")).collect();
    let labels = names(raw)?.unwrap_or_else(invented);
    if labels.len() != classes {
        return Err(format!("`id2label` has {} names, the head {classes} classes", labels.len()));
    }
    Ok(CheckpointHead { named: labels != invented() || task == Task::Regression, labels, task })
}

/// `id2label` by class; `None` if it is absent.
fn names(raw: &Map<String, Value>) -> Result<Option<Vec<String>>, String> {
    let Some(found) = raw.get("id2label").filter(|found| !found.is_null()) else {
        return Ok(None);
    };
    let map = found.as_object().ok_or("`id2label` is not an object of label names")?;
    let mut by_class = BTreeMap::new();
    for (key, name) in map {
        // `01` and `+1` are no class numbers either.
        let class = key.parse::<usize>().ok().filter(|class| class.to_string() == *key);
        let class = class.ok_or_else(|| format!("`id2label` has `{key}`, expected a number"))?;
        let name = name.as_str().ok_or_else(|| {
            format!("`id2label` names class {class} {name}, expected a text in quotes")
        })?;
        by_class.insert(class, name);
    }
    if let Some(gap) = (0..map.len()).find(|class| !by_class.contains_key(class)) {
        return Err(format!("`id2label` has {} names, but none of class {gap}", map.len()));
    }
    let mut seen = BTreeSet::new();
    if let Some(twice) = by_class.values().find(|name| !seen.insert(**name)) {
        return Err(format!("`id2label` has the name `{twice}` twice"));
    }
    let classes = raw.get("label2id").and_then(Value::as_object);
    let class_of = |name: &str| classes?.get(name)?.as_u64();
    for (class, name) in &by_class {
        if let Some(other) = class_of(name).filter(|other| *other != *class as u64) {
            return Err(format!(
                "`{name}` is class {class} in `id2label`, but {other} in `label2id`"
            ));
        }
    }
    Ok(Some(by_class.into_values().map(str::to_owned).collect()))
}
