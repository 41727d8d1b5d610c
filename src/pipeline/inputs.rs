//! The section `inputs` of a stage, checked against the inputs that a built-in takes. References
//! are checked as far as possible without a network.

use std::collections::BTreeMap;
use std::path::Path;

use super::document::{Draft, entry};
use super::model::Input;
use super::outputs::Outputs;
use super::problem::Problems;
use super::reader::InputReader;
use super::sets;

/// Reads the inputs of a stage. Mistakes are reported, and those inputs left out.
pub(super) fn read_inputs(
    draft: &Draft,
    outputs: &Outputs,
    root: &Path,
    registry: &[&dyn stages::Stage],
    problems: &mut Problems,
) -> BTreeMap<String, Input> {
    let stage = &draft.name;
    let builtin = draft.builtin(registry);
    if let Some(builtin) = builtin {
        for spec in builtin.inputs() {
            if spec.required && entry(&draft.inputs, spec.name).is_none() {
                let message = format!("stage `{stage}` needs the input `{}`", spec.name);
                let problem = problems.at(draft.origin, message).stage(stage);
                problem.help(format!("add `{}:` under `inputs:` ({})", spec.name, spec.doc));
            }
        }
    }
    let mut inputs = BTreeMap::new();
    for given in &draft.inputs {
        let name = &given.key;
        let spec =
            builtin.and_then(|builtin| builtin.inputs().iter().find(|spec| spec.name == name));
        if let (Some(builtin), None) = (builtin, spec) {
            let known: Vec<&str> = builtin.inputs().iter().map(|spec| spec.name).collect();
            let message = format!("unknown input `{name}` of stage `{stage}`");
            let problem = problems.at(given.key_origin, message).stage(stage);
            problem.nearest_or_all(name, &known);
            if builtin.params().iter().any(|spec| spec.name == name) {
                problem.help(format!("`{name}` is a parameter: write it under `params:`"));
            }
            continue;
        }
        let reader = InputReader { stage, name, outputs, root };
        let Some(wired) = sets::read(&reader, &given.value, problems) else { continue };
        let Some(wired) = sets::fit(&reader, wired, spec, &given.value, problems) else { continue };
        if let Some(spec) = spec {
            for input in wired.inputs() {
                reader.check_kind(input, spec, &given.value, problems);
            }
        }
        wired.insert_into(&mut inputs, name);
    }
    inputs
}
