//! Parameters of built-in stages: a table that specifies them, the check of a pipeline's values
//! against the table, and typed access for the stage. The same table serves the check, the
//! defaults that enter the key, and the documentation.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Number, Value};

/// One parameter of a stage.
#[derive(Clone, Copy, Debug)]
pub struct ParamSpec {
    pub name: &'static str,
    pub kind: ParamKind,
    pub default: Default,
    pub doc: &'static str,
    /// Whether the key has the parameter only if its value is not the default. So it is with
    /// parameters that were added when keys of the stage were in use already: a pipeline that
    /// does not use one keeps its keys.
    pub late: bool,
}

impl ParamSpec {
    pub const fn new(
        name: &'static str,
        kind: ParamKind,
        default: Default,
        doc: &'static str,
    ) -> ParamSpec {
        ParamSpec { name, kind, default, doc, late: false }
    }

    /// The same parameter, but its default is not in the key, see [`ParamSpec::late`].
    pub const fn late(self) -> ParamSpec {
        ParamSpec { late: true, ..self }
    }
}

/// The type and range of a parameter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ParamKind {
    Bool,
    /// A whole number in `min..=max`.
    Int {
        min: i64,
        max: i64,
    },
    /// A number in `min..=max`; whole numbers are accepted too.
    Float {
        min: f64,
        max: f64,
    },
    Text,
    /// A text, or null to do without what it names.
    TextOrNull,
    Choice(&'static [&'static str]),
    /// A word of this list, or a whole number in `min..=max` (`max_length: auto|N`).
    WordOrInt {
        words: &'static [&'static str],
        min: i64,
        max: i64,
    },
    /// A word of this list, or a number in `min..=max`.
    WordOrFloat {
        words: &'static [&'static str],
        min: f64,
        max: f64,
    },
    /// A word of this list, or a list of numbers in `min..=max`.
    WordOrFloatList {
        words: &'static [&'static str],
        min: f64,
        max: f64,
    },
    /// A list of texts.
    TextList,
    /// A list of numbers in `min..=max`.
    FloatList {
        min: f64,
        max: f64,
    },
    /// A map from text to text.
    TextMap,
    /// A map from text to numbers in `min..=max`.
    FloatMap {
        min: f64,
        max: f64,
    },
}

/// The value of a parameter that the pipeline does not give.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Default {
    /// The pipeline must give it.
    Required,
    /// `null`. The parameter's documentation says what that means.
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(&'static str),
    TextList(&'static [&'static str]),
    FloatList(&'static [f64]),
    EmptyMap,
}

impl Default {
    /// The default as a JSON value; `None` if the pipeline must give the parameter.
    pub fn value(&self) -> Option<Value> {
        Some(match *self {
            Default::Required => return None,
            Default::Null => Value::Null,
            Default::Bool(value) => Value::Bool(value),
            Default::Int(value) => Value::from(value),
            Default::Float(value) => Value::from(value),
            Default::Text(value) => Value::from(value),
            Default::TextList(values) => Value::from(values.to_vec()),
            Default::FloatList(values) => Value::from(values.to_vec()),
            Default::EmptyMap => Value::Object(serde_json::Map::new()),
        })
    }
}

impl ParamKind {
    pub const fn int(min: i64, max: i64) -> ParamKind {
        ParamKind::Int { min, max }
    }

    pub const fn float(min: f64, max: f64) -> ParamKind {
        ParamKind::Float { min, max }
    }

    /// The expected values in words: "a whole number from 1 to 100".
    pub fn expected(&self) -> String {
        let range = |min: f64, max: f64| match (min == f64::MIN, max == f64::MAX) {
            (true, true) => String::new(),
            (false, true) => format!(" of at least {min}"),
            (true, false) => format!(" of at most {max}"),
            (false, false) => format!(" from {min} to {max}"),
        };
        let whole = |min: i64, max: i64| match max == i64::MAX {
            true if min == i64::MIN => "a whole number".to_owned(),
            true => format!("a whole number of at least {min}"),
            false => format!("a whole number from {min} to {max}"),
        };
        match *self {
            ParamKind::Bool => "true or false".to_owned(),
            ParamKind::Int { min, max } => whole(min, max),
            ParamKind::Float { min, max } => format!("a number{}", range(min, max)),
            ParamKind::Text => "a text".to_owned(),
            ParamKind::TextOrNull => "a text, or null for none".to_owned(),
            ParamKind::Choice(words) => format!("one of {}", words.join(", ")),
            ParamKind::WordOrInt { words, min, max } => {
                format!("{} or {}", words.join(", "), whole(min, max))
            }
            ParamKind::WordOrFloat { words, min, max } => {
                format!("{} or a number{}", words.join(", "), range(min, max))
            }
            ParamKind::WordOrFloatList { words, min, max } => {
                format!("{} or a list of numbers{}", words.join(", "), range(min, max))
            }
            ParamKind::TextList => "a list of texts".to_owned(),
            ParamKind::FloatList { min, max } => format!("a list of numbers{}", range(min, max)),
            ParamKind::TextMap => "a map from text to text".to_owned(),
            ParamKind::FloatMap { min, max } => {
                format!("a map from text to a number{}", range(min, max))
            }
        }
    }

    /// The value in its canonical form, or `None` if the value is not allowed. A whole number
    /// given for a [`ParamKind::Float`] becomes a float, so that `1` and `1.0` give the same key.
    pub fn canonical(&self, value: &Value) -> Option<Value> {
        match *self {
            ParamKind::Bool => value.is_boolean().then(|| value.clone()),
            ParamKind::Int { min, max } => {
                let number = whole_number(value)?;
                (min..=max).contains(&number).then(|| Value::from(number))
            }
            ParamKind::Float { min, max } => {
                let number = value.as_f64()?;
                (min..=max).contains(&number).then_some(())?;
                Number::from_f64(number).map(Value::Number)
            }
            ParamKind::Text => value.is_string().then(|| value.clone()),
            ParamKind::TextOrNull => (value.is_string() || value.is_null()).then(|| value.clone()),
            ParamKind::Choice(words) => words.contains(&value.as_str()?).then(|| value.clone()),
            ParamKind::WordOrInt { words, min, max } => match value.as_str() {
                Some(word) => words.contains(&word).then(|| value.clone()),
                None => ParamKind::Int { min, max }.canonical(value),
            },
            ParamKind::WordOrFloat { words, min, max } => match value.as_str() {
                Some(word) => words.contains(&word).then(|| value.clone()),
                None => ParamKind::Float { min, max }.canonical(value),
            },
            ParamKind::WordOrFloatList { words, min, max } => match value.as_str() {
                Some(word) => words.contains(&word).then(|| value.clone()),
                None => ParamKind::FloatList { min, max }.canonical(value),
            },
            ParamKind::TextList => {
                let list = value.as_array()?;
                list.iter().all(Value::is_string).then(|| value.clone())
            }
            ParamKind::FloatList { min, max } => {
                let list = value.as_array()?.iter();
                let one = ParamKind::Float { min, max };
                list.map(|item| one.canonical(item)).collect::<Option<Vec<_>>>().map(Value::Array)
            }
            ParamKind::TextMap => {
                let map = value.as_object()?;
                map.values().all(Value::is_string).then(|| value.clone())
            }
            ParamKind::FloatMap { min, max } => {
                let one = ParamKind::Float { min, max };
                let entry =
                    |(key, item): (&String, &Value)| Some((key.clone(), one.canonical(item)?));
                let map: Option<serde_json::Map<_, _>> =
                    value.as_object()?.iter().map(entry).collect();
                map.map(Value::Object)
            }
        }
    }
}

/// Accepts `2` and `2.0`: authors of YAML mean the same by both.
fn whole_number(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| {
        let number = value.as_f64()?;
        (number.fract() == 0.0 && number.abs() < 9e15).then_some(number as i64)
    })
}

/// The parameters of one stage, checked and complete. The map is sorted, so that the order in the
/// YAML does not reach the key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Params(pub BTreeMap<String, Value>);

/// Why a parameter in a pipeline is refused.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ParamError {
    #[error("unknown parameter `{name}`")]
    Unknown { name: String },
    #[error("parameter `{name}` must be given: {expected}")]
    Missing { name: &'static str, expected: String },
    #[error("parameter `{name}` is {found}, expected {expected}")]
    Unfit { name: String, found: String, expected: String },
}

impl ParamError {
    /// The parameter's name.
    pub fn name(&self) -> &str {
        match self {
            ParamError::Unknown { name } | ParamError::Unfit { name, .. } => name,
            ParamError::Missing { name, .. } => name,
        }
    }
}

impl Params {
    /// Checks `given` against the stage's `specs`, fills in the defaults and returns the
    /// canonical values.
    ///
    /// # Errors
    /// Every wrong parameter, not only the first.
    pub fn resolve(
        specs: &[ParamSpec],
        given: &BTreeMap<String, Value>,
    ) -> Result<Params, Vec<ParamError>> {
        let mut errors = Vec::new();
        for name in given.keys() {
            if !specs.iter().any(|spec| spec.name == name) {
                errors.push(ParamError::Unknown { name: name.clone() });
            }
        }
        let mut values = BTreeMap::new();
        for spec in specs {
            let value = match given.get(spec.name) {
                Some(Value::Null) if spec.default == Default::Null => Some(Value::Null),
                Some(found) => {
                    let canonical = spec.kind.canonical(found);
                    if canonical.is_none() {
                        errors.push(ParamError::Unfit {
                            name: spec.name.to_owned(),
                            found: found.to_string(),
                            expected: spec.kind.expected(),
                        });
                    }
                    canonical
                }
                None => {
                    let default = spec.default.value();
                    if default.is_none() {
                        let expected = spec.kind.expected();
                        errors.push(ParamError::Missing { name: spec.name, expected });
                    }
                    default
                }
            };
            if let Some(value) = value {
                values.insert(spec.name.to_owned(), value);
            }
        }
        if errors.is_empty() { Ok(Params(values)) } else { Err(errors) }
    }

    /// The parameters that enter the key: all but the late ones that have their default.
    pub fn of_key(
        specs: &[ParamSpec],
        mut values: BTreeMap<String, Value>,
    ) -> BTreeMap<String, Value> {
        for spec in specs.iter().filter(|spec| spec.late) {
            if values.get(spec.name) == spec.default.value().as_ref() {
                values.remove(spec.name);
            }
        }
        values
    }

    /// The parameters of a key, with the defaults of the late ones that it lacks.
    pub fn from_key(specs: &[ParamSpec], mut values: BTreeMap<String, Value>) -> Params {
        for spec in specs.iter().filter(|spec| spec.late) {
            if let Some(default) = spec.default.value() {
                values.entry(spec.name.to_owned()).or_insert(default);
            }
        }
        Params(values)
    }

    fn get(&self, name: &str) -> &Value {
        // Only a bug in a stage can ask for a parameter that its own table lacks, and the stage's
        // tests meet it at once.
        self.0.get(name).unwrap_or_else(|| panic!("stage asks for undeclared parameter `{name}`"))
    }

    pub fn bool(&self, name: &str) -> bool {
        self.get(name).as_bool().unwrap_or_default()
    }

    pub fn int(&self, name: &str) -> i64 {
        self.get(name).as_i64().unwrap_or_default()
    }

    /// A whole number whose range excludes negative values.
    pub fn count(&self, name: &str) -> usize {
        usize::try_from(self.int(name)).unwrap_or_default()
    }

    pub fn float(&self, name: &str) -> f64 {
        self.get(name).as_f64().unwrap_or_default()
    }

    pub fn text(&self, name: &str) -> &str {
        self.get(name).as_str().unwrap_or_default()
    }

    /// [`Params::count`], or `None` if the parameter is a word or `null`.
    pub fn optional_count(&self, name: &str) -> Option<usize> {
        self.optional_int(name).and_then(|number| usize::try_from(number).ok())
    }

    /// `None` if the parameter is a word or `null`.
    pub fn optional_int(&self, name: &str) -> Option<i64> {
        self.get(name).as_i64()
    }

    /// `None` if the parameter is `null` or not a text.
    pub fn optional_text(&self, name: &str) -> Option<&str> {
        self.get(name).as_str()
    }

    /// `None` if the parameter is a word or `null`.
    pub fn optional_float(&self, name: &str) -> Option<f64> {
        self.get(name).as_f64()
    }

    pub fn texts(&self, name: &str) -> Vec<String> {
        let list = self.get(name).as_array();
        list.into_iter().flatten().filter_map(|item| item.as_str().map(str::to_owned)).collect()
    }

    pub fn floats(&self, name: &str) -> Vec<f64> {
        self.get(name).as_array().into_iter().flatten().filter_map(Value::as_f64).collect()
    }

    pub fn text_map(&self, name: &str) -> BTreeMap<String, String> {
        let map = self.get(name).as_object();
        map.into_iter()
            .flatten()
            .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
            .collect()
    }

    pub fn float_map(&self, name: &str) -> BTreeMap<String, f64> {
        let map = self.get(name).as_object();
        map.into_iter()
            .flatten()
            .filter_map(|(key, value)| Some((key.clone(), value.as_f64()?)))
            .collect()
    }
}
