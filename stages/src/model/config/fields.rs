//! Reads single fields of `config.json`, with errors that name the field.

use std::path::Path;

use serde_json::{Map, Value};

use crate::family::{Activation, ActivationOf};
use crate::stage::error::StageError;

/// The fields of a file. An absent field and `null` mean the same.
pub(super) struct Fields<'a> {
    pub(super) raw: &'a Map<String, Value>,
    pub(super) path: &'a Path,
}

impl<'a> Fields<'a> {
    pub(super) fn present(&self, name: &str) -> Option<&'a Value> {
        self.raw.get(name).filter(|value| !value.is_null())
    }

    pub(super) fn unfit(&self, name: &str, found: &Value, expected: &str) -> StageError {
        self.problem(format!("`{name}` is {found}, expected {expected}"))
    }

    pub(super) fn problem(&self, problem: String) -> StageError {
        StageError::File { path: self.path.to_owned(), problem }
    }

    pub(super) fn count(&self, name: &str, default: usize) -> Result<usize, StageError> {
        let Some(value) = self.present(name) else { return Ok(default) };
        value
            .as_u64()
            .and_then(|number| usize::try_from(number).ok())
            .filter(|number| *number < 1 << 32)
            .ok_or_else(|| self.unfit(name, value, "a whole number"))
    }

    /// A count for which a negative number stands for none.
    pub(super) fn count_if_positive(&self, name: &str) -> Result<Option<usize>, StageError> {
        if self.present(name).and_then(Value::as_i64).is_some_and(|number| number < 0) {
            return Ok(None);
        }
        Ok(Some(self.count(name, 0)?).filter(|count| *count > 0))
    }

    pub(super) fn float(&self, name: &str, default: f64) -> Result<f64, StageError> {
        Ok(self.optional_float(name)?.unwrap_or(default))
    }

    pub(super) fn optional_float(&self, name: &str) -> Result<Option<f64>, StageError> {
        let Some(value) = self.present(name) else { return Ok(None) };
        value.as_f64().map(Some).ok_or_else(|| self.unfit(name, value, "a number"))
    }

    pub(super) fn switch(&self, name: &str, default: bool) -> Result<bool, StageError> {
        let Some(value) = self.present(name) else { return Ok(default) };
        value.as_bool().ok_or_else(|| self.unfit(name, value, "true or false"))
    }

    pub(super) fn text(&self, name: &str) -> Result<Option<&'a str>, StageError> {
        let Some(value) = self.present(name) else { return Ok(None) };
        value.as_str().map(Some).ok_or_else(|| self.unfit(name, value, "a text"))
    }

    pub(super) fn activation(&self, of: ActivationOf) -> Result<Activation, StageError> {
        let name = match of {
            ActivationOf::Fixed(activation) => return Ok(activation),
            ActivationOf::Field(name) => name,
        };
        let Some(value) = self.present(name) else { return Ok(Activation::Gelu) };
        let found = value.as_str().and_then(Activation::named);
        found.ok_or_else(|| self.unfit(name, value, &format!("one of {}", Activation::names())))
    }
}
