//! Parameters that are `null` by default: the documentation says what `null` means, and no stage
//! replaces it with a number of its own. Such a number would not be in the key, so a change of it
//! would go unnoticed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use regex::Regex;
use stages::builtin::finetune::params::FinetuneParams;
use stages::builtin::pretrain::params::{NEW_MODEL, PretrainParams, SHAPE};
use stages::stage::params::Default;
use stages::{ParamKind, ParamSpec, Params};

/// Every numeric parameter of every built-in that is `null` by default.
fn null_numbers() -> Vec<&'static ParamSpec> {
    let specs = stages::all().iter().flat_map(|stage| stage.params());
    let is_number = |kind: &ParamKind| match kind {
        ParamKind::Int { .. }
        | ParamKind::Float { .. }
        | ParamKind::WordOrInt { .. }
        | ParamKind::WordOrFloat { .. }
        | ParamKind::WordOrFloatList { .. }
        | ParamKind::FloatList { .. }
        | ParamKind::FloatMap { .. } => true,
        ParamKind::Bool
        | ParamKind::Text
        | ParamKind::TextOrNull
        | ParamKind::Choice(_)
        | ParamKind::TextList
        | ParamKind::TextMap => false,
    };
    specs.filter(|spec| spec.default == Default::Null && is_number(&spec.kind)).collect()
}

fn defaults(uses: &str) -> Params {
    Params::resolve(stages::find(uses).unwrap().params(), &BTreeMap::new()).unwrap()
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else {
            found.push(path);
        }
    }
    found
}

#[test]
fn the_documentation_says_what_null_means() {
    let specs = null_numbers();
    assert!(specs.len() >= 13, "{}", specs.len());
    for spec in specs {
        assert!(spec.doc.contains("null: "), "`{}`: {}", spec.name, spec.doc);
    }
}

#[test]
fn no_source_replaces_null_with_a_number() {
    let names: Vec<&str> = null_numbers().iter().map(|spec| spec.name).collect();
    let start = format!(r#"\b({})\b"?\)?(\s*\.\w+\([^()]*\))*?\s*\."#, names.join("|"));
    let end = r"(unwrap_or_default\(\)|(unwrap_or|unwrap_or_else|map_or)\(\s*(\|\|\s*)?";
    let literal = Regex::new(&format!(r"{start}{end}-?[0-9])")).unwrap();
    let constant = Regex::new(&format!(r"{start}{end}[A-Z][A-Z0-9_]+\b)")).unwrap();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for path in sources(&folder) {
        let text = std::fs::read_to_string(&path).unwrap();
        let is_table = path.file_name().is_some_and(|name| name == "params.rs");
        let found = literal.find(&text).or_else(|| constant.find(&text).filter(|_| !is_table));
        assert!(found.is_none(), "{}: {}", path.display(), found.unwrap().as_str());
    }
}

#[test]
fn null_stays_null_in_the_parameters_of_a_training() {
    let finetune = FinetuneParams::of(&defaults("finetune"));
    assert_eq!(finetune.length.schedule_epochs, None);
    assert_eq!(finetune.selection.patience, None);
    assert_eq!(finetune.classifier_dropout, None);
    assert_eq!((finetune.training.dropout, finetune.training.attention_dropout), (None, None));
    let pretrain = PretrainParams::of(&defaults("pretrain"));
    assert_eq!((pretrain.steps, pretrain.evaluate_every), (None, None));
    assert_eq!((pretrain.training.dropout, pretrain.training.attention_dropout), (None, None));
    let shape = pretrain.shape;
    assert_eq!((shape.layers, shape.hidden, shape.heads), (None, None, None));
    assert_eq!((shape.intermediate, shape.max_position), (None, None));
}

#[test]
fn the_numbers_of_a_new_model_are_those_that_the_documentation_gives() {
    let pretrain = stages::find("pretrain").unwrap();
    let doc = |name: &str| pretrain.params().iter().find(|spec| spec.name == name).unwrap().doc;
    let shape = PretrainParams::of(&defaults("pretrain")).shape.of_new_model();
    let of = |name: &str| match name {
        "layers" => shape.layers.to_string(),
        "hidden" => shape.hidden.to_string(),
        "heads" => shape.heads.to_string(),
        "intermediate" => format!("{} times `hidden`", shape.intermediate / shape.hidden),
        "max_position" => shape.max_position.to_string(),
        other => panic!("no field for `{other}`"),
    };
    for name in SHAPE {
        assert!(doc(name).ends_with(&format!("null: {}", of(name))), "{}", doc(name));
    }
    for name in ["dropout", "attention_dropout"] {
        assert!(doc(name).ends_with(&format!("{} for a new model", NEW_MODEL.dropout)));
    }
}
