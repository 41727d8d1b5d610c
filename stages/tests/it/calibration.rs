//! The temperature of a model, and thresholds that its head applies itself.

use serde_json::Value;
use stages::data::temperature::{Rows, best_temperature};

#[test]
fn temperatures_are_those_of_scipy() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/calibration/expected.json");
    let cases: Vec<Value> = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    for case in &cases {
        let rows: Vec<Vec<f32>> = serde_json::from_value(case["logits"].clone()).unwrap();
        let logits = rows.concat();
        let found = match case.get("classes") {
            Some(classes) => {
                let gold: Vec<usize> = serde_json::from_value(classes.clone()).unwrap();
                best_temperature(&logits, rows[0].len(), Rows::Classes(&gold))
            }
            None => {
                let gold: Vec<Vec<usize>> = serde_json::from_value(case["sets"].clone()).unwrap();
                best_temperature(&logits, rows[0].len(), Rows::Sets(&gold))
            }
        };
        let (found, expected) = (found.unwrap(), case["temperature"].as_f64().unwrap());
        // The least value of a function is found to about half the digits of a float.
        assert!((found / expected - 1.0).abs() < 1e-6, "{found}, not {expected}");
    }
}

#[test]
fn without_a_mistake_or_without_any_skill_there_is_no_temperature() {
    let logits = [2.0, -1.0, -0.5, 3.0];
    assert_eq!(best_temperature(&logits, 2, Rows::Classes(&[0, 1])), None);
    assert_eq!(best_temperature(&logits, 2, Rows::Classes(&[1, 0])), None);
    assert_eq!(best_temperature(&[1.0, 1.0], 2, Rows::Classes(&[1])), None);
    assert_eq!(best_temperature(&[], 2, Rows::Classes(&[])), None);
    // Logits that overflow an exponential have a temperature all the same.
    let huge = [800.0, -800.0, 400.0, -400.0, -300.0, 300.0];
    let found = best_temperature(&huge, 2, Rows::Classes(&[0, 1, 1]));
    assert!(found.is_none_or(f64::is_finite), "{found:?}");
}
