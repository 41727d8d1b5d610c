//! Lines of `metrics.jsonl`, each a JSON object of figures, as training stages write them, keep
//! them in checkpoints, and report them as events.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::stage::error::StageError;

/// A row as a line, without the line end.
pub fn line(row: &impl Serialize) -> Result<String, StageError> {
    serde_json::to_string(row).map_err(|source| StageError::Metrics { source })
}

/// The figures of a line, by name. A figure that is not finite is `null` in JSON and left out.
///
/// # Errors
/// The line is not an object of numbers.
pub fn figures(line: &str) -> Result<BTreeMap<String, f64>, StageError> {
    let row: BTreeMap<String, Option<f64>> =
        serde_json::from_str(line).map_err(|source| StageError::Metrics { source })?;
    Ok(row.into_iter().filter_map(|(name, figure)| Some((name, figure?))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_that_is_not_finite_does_not_take_the_others_with_it() {
        let row = [("epoch", 1.0), ("valid_loss", f64::INFINITY), ("valid_f1", 0.5)];
        let line = line(&BTreeMap::from(row)).unwrap();
        let expected = [("epoch".to_owned(), 1.0), ("valid_f1".to_owned(), 0.5)];
        assert_eq!(figures(&line).unwrap(), BTreeMap::from(expected));
    }

    #[test]
    fn rows_that_are_not_figures_are_errors() {
        assert!(figures("").is_err());
        assert!(figures("{\"epoch\":\"one\"}").is_err());
        assert!(line(&BTreeMap::from([((1, 2), 0.5)])).is_err(), "a key that is no text");
    }
}
