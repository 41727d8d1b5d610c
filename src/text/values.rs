//! Values of parameters as people write them, and long texts cut to one line.

use serde_json::Value;

/// The value of a parameter as people write it: `2e-5`, not `0.00002`.
pub fn value_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(number) if number.is_f64() => {
            let float = number.as_f64().unwrap_or_default();
            let scientific = float != 0.0 && !(1e-3..1e7).contains(&float.abs());
            if scientific { format!("{float:e}") } else { number.to_string() }
        }
        other => other.to_string(),
    }
}

/// A text on one line, cut after 40 characters.
pub fn shorten(text: &str) -> String {
    const WIDTH: usize = 40;
    let line = text.replace('\n', "⏎");
    match line.char_indices().nth(WIDTH) {
        Some((at, _)) => format!("{}…", &line[..at]),
        None => line,
    }
}
