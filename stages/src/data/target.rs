//! What an example is labelled with, and what a model predicts for it: one label, a list of labels
//! or a number. In JSON it is a text, a list of texts, or a number.

use std::fmt;

use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::data::task::Task;

/// A label of any [`Task`].
#[derive(Clone, Debug, PartialEq)]
pub enum Target {
    Label(String),
    /// In alphabetical order, none twice. Empty if none of the labels fits, which is not the same as
    /// a label that is not known.
    Labels(Vec<String>),
    /// Finite.
    Number(f64),
}

impl Target {
    /// Labels in any order.
    pub fn of_labels(mut labels: Vec<String>) -> Target {
        labels.sort_unstable();
        labels.dedup();
        Target::Labels(labels)
    }

    pub fn task(&self) -> Task {
        match self {
            Target::Label(_) => Task::Single,
            Target::Labels(_) => Task::Multi,
            Target::Number(_) => Task::Regression,
        }
    }

    /// The label, if it is one.
    pub fn label(&self) -> Option<&str> {
        match self {
            Target::Label(label) => Some(label),
            Target::Labels(_) | Target::Number(_) => None,
        }
    }

    /// The labels, however many. A number has none.
    pub fn labels(&self) -> &[String] {
        match self {
            Target::Label(label) => std::slice::from_ref(label),
            Target::Labels(labels) => labels,
            Target::Number(_) => &[],
        }
    }

    /// The number, if it is one.
    pub fn number(&self) -> Option<f64> {
        match self {
            Target::Number(number) => Some(*number),
            Target::Label(_) | Target::Labels(_) => None,
        }
    }
}

/// For people: `a`, `a, b`, `(no label)`, `2.5`.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Label(label) => f.write_str(label),
            Target::Labels(labels) if labels.is_empty() => f.write_str("(no label)"),
            Target::Labels(labels) => f.write_str(&labels.join(", ")),
            Target::Number(number) => number.fmt(f),
        }
    }
}

impl From<&str> for Target {
    fn from(label: &str) -> Target {
        Target::Label(label.to_owned())
    }
}

impl From<String> for Target {
    fn from(label: String) -> Target {
        Target::Label(label)
    }
}

impl Serialize for Target {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Target::Label(label) => serializer.serialize_str(label),
            Target::Labels(labels) => labels.serialize(serializer),
            Target::Number(number) => serializer.serialize_f64(*number),
        }
    }
}

impl<'de> Deserialize<'de> for Target {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Target, D::Error> {
        struct AnyTarget;
        impl<'de> Visitor<'de> for AnyTarget {
            type Value = Target;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a label, a list of labels or a number")
            }

            fn visit_str<E: Error>(self, label: &str) -> Result<Target, E> {
                Ok(Target::Label(label.to_owned()))
            }

            fn visit_string<E: Error>(self, label: String) -> Result<Target, E> {
                Ok(Target::Label(label))
            }

            fn visit_f64<E: Error>(self, number: f64) -> Result<Target, E> {
                Ok(Target::Number(number))
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<Target, E> {
                Ok(Target::Number(number as f64))
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Target, E> {
                Ok(Target::Number(number as f64))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Target, A::Error> {
                let mut labels = Vec::new();
                while let Some(label) = list.next_element()? {
                    labels.push(label);
                }
                Ok(Target::of_labels(labels))
            }
        }
        deserializer.deserialize_any(AnyTarget)
    }
}
