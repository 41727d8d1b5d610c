//! Means and standard deviations over runs or combinations that differ only in their seed.

use serde_json::Value;

use crate::report::data::{Column, ComparisonTable, Means, MeansRow, RunState};
use crate::results::sweep::table::Mean;

/// Groups the rows that are done by all settings except those in `over`, or, if `over` is empty,
/// except every key that ends in `seed`. `None` if no group has two rows.
pub fn means(comparison: &ComparisonTable, over: &[String]) -> Option<Means> {
    let is_over = |column: &Column| {
        let wanted = |name: &str| match over.is_empty() {
            true => name.rsplit(['.', ' ']).next() == Some("seed"),
            false => over.iter().any(|key| key == name),
        };
        !column.metric && column.name.split(", ").any(wanted)
    };
    let places = |wanted: &dyn Fn(&Column) -> bool| -> Vec<usize> {
        let columns = comparison.columns.iter().enumerate();
        columns.filter(|(_, column)| wanted(column)).map(|(place, _)| place).collect()
    };
    let taken = places(&is_over);
    let settings = places(&|column| !column.metric && !is_over(column));
    let metrics = places(&|column| column.metric);
    let mut groups: Vec<(Vec<Option<Value>>, Vec<usize>)> = Vec::new();
    for (row, compared) in comparison.rows.iter().enumerate() {
        if compared.state != RunState::Done {
            continue;
        }
        let values: Vec<Option<Value>> =
            settings.iter().map(|place| compared.values[*place].clone()).collect();
        match groups.iter_mut().find(|(of, _)| *of == values) {
            Some((_, rows)) => rows.push(row),
            None => groups.push((values, vec![row])),
        }
    }
    if taken.is_empty() || groups.iter().all(|(_, rows)| rows.len() < 2) {
        return None;
    }
    let figure = |rows: &[usize], place: usize| {
        let number = |row: &usize| comparison.rows[*row].values[place].as_ref()?.as_f64();
        let values: Vec<f64> = rows.iter().filter_map(number).collect();
        (!values.is_empty()).then(|| Mean::of(&values))
    };
    let rows = groups.into_iter().map(|(values, rows)| MeansRow {
        values,
        figures: metrics.iter().map(|place| figure(&rows, *place)).collect(),
        runs: rows.len(),
    });
    let name = |place: &usize| comparison.columns[*place].name.clone();
    Some(Means {
        over: taken.iter().map(name).collect(),
        settings: settings.iter().map(name).collect(),
        metrics: metrics.iter().map(name).collect(),
        rows: rows.collect(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::means;
    use crate::report::data::{Column, ComparedRow, ComparisonTable, RunState};

    fn comparison(rows: &[(RunState, f64, u64, f64)]) -> ComparisonTable {
        let column = |name: &str, metric| Column { name: name.to_owned(), metric, whole: !metric };
        let row = |(state, rate, seed, f1): &(RunState, f64, u64, f64)| ComparedRow {
            name: seed.to_string(),
            state: *state,
            seconds: 1.0,
            values: vec![Some(json!(rate)), Some(json!(seed)), Some(json!(f1))],
        };
        ComparisonTable {
            columns: vec![
                column("finetune.learning_rate", false),
                column("finetune.seed, split.seed", false),
                column("score.valid_f1", true),
            ],
            rows: rows.iter().map(row).collect(),
            by: Some(2),
            ascending: false,
            sweep: true,
            means: None,
            learning_curve: None,
        }
    }

    #[test]
    fn rows_that_differ_in_their_seed_alone_come_together() {
        use RunState::{Done, Failed};
        let rows =
            [(Done, 0.1, 1, 0.5), (Done, 0.2, 1, 0.8), (Done, 0.1, 2, 0.7), (Failed, 0.2, 2, 0.0)];
        let found = means(&comparison(&rows), &[]).unwrap();
        assert_eq!(found.over, ["finetune.seed, split.seed"]);
        assert_eq!(found.rows.len(), 2);
        let figure = found.rows[0].figures[0].unwrap();
        assert_eq!((found.rows[0].runs, found.rows[1].runs), (2, 1));
        assert!((figure.mean - 0.6).abs() < 1e-12);
        // Of 0.5 and 0.7 with n - 1.
        assert!((figure.deviation.unwrap() - 0.02f64.sqrt()).abs() < 1e-12);
        assert_eq!(found.rows[1].figures[0].unwrap().deviation, None);
    }

    #[test]
    fn nothing_is_said_where_no_two_rows_come_together() {
        let rows = [(RunState::Done, 0.1, 1, 0.5), (RunState::Done, 0.2, 1, 0.8)];
        assert!(means(&comparison(&rows), &[]).is_none());
        // A key that was asked for is taken instead of the seeds.
        let found = means(&comparison(&rows), &["finetune.learning_rate".to_owned()]).unwrap();
        assert_eq!(found.rows[0].runs, 2);
    }
}
