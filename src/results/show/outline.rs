//! A JSON document as an outline: a name and its value per line, nested values indented, short
//! lists on one line, numbers to four significant digits.

use serde_json::Value;

use crate::text::figures::number;
use crate::text::terminal::{columns, fit, printable};

/// The document in lines of at most `width` columns, where its values allow it.
pub(super) fn outline(value: &Value, width: usize) -> String {
    let mut text = String::new();
    match value {
        Value::Object(_) | Value::Array(_) => entries(value, 0, width, &mut text),
        other => text = scalar(other) + "\n",
    }
    text
}

fn entries(value: &Value, depth: usize, width: usize, text: &mut String) {
    let named: Vec<(String, &Value)> = match value {
        Value::Object(object) => object.iter().map(|(name, it)| (printable(name), it)).collect(),
        Value::Array(list) => {
            list.iter().enumerate().map(|(place, it)| (format!("{place}"), it)).collect()
        }
        _ => Vec::new(),
    };
    let indent = "  ".repeat(depth);
    let short: Vec<Option<String>> = named
        .iter()
        .map(|(name, value)| inline(value, width.saturating_sub(indent.len() + columns(name) + 2)))
        .collect();
    // Values are aligned in a column.
    let on_a_line = named.iter().zip(&short).filter(|(_, short)| short.is_some());
    let across = on_a_line.map(|((name, _), _)| columns(name)).max().unwrap_or(0);
    for ((name, value), short) in named.iter().zip(short) {
        text.push_str(&format!("{indent}{name}"));
        match short {
            Some(short) => {
                let gap = across.min(32).saturating_sub(columns(name)) + 2;
                text.push_str(&format!("{}{short}\n", " ".repeat(gap)));
            }
            None => {
                text.push('\n');
                entries(value, depth + 1, width, text);
            }
        }
    }
}

/// A value on one line; `None` if it must be indented below its name.
fn inline(value: &Value, width: usize) -> Option<String> {
    match value {
        Value::Object(object) if object.is_empty() => Some("{}".to_owned()),
        Value::Object(_) => None,
        Value::Array(list) => {
            let parts: Option<Vec<String>> = list.iter().map(|it| inline(it, width)).collect();
            let text = format!("[{}]", parts?.join(", "));
            (columns(&text) <= width).then_some(text)
        }
        other => Some(scalar(other)),
    }
}

fn scalar(value: &Value) -> String {
    match value {
        Value::String(text) => fit(&printable(text), 1_000),
        Value::Number(found) => match found.as_f64().filter(|_| found.is_f64()) {
            Some(value) => number(value),
            None => found.to_string(),
        },
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::results::show::outline::outline;

    #[test]
    fn names_stand_before_their_values_and_what_belongs_together_is_indented() {
        let document = json!({
            "test": {"accuracy": 0.651515, "rows": 66, "intervals": {"f1": [0.5, 0.75]}},
            "labels": ["NO", "YES"],
            "none": null,
        });
        let expected = "labels  [NO, YES]\nnone    null\ntest\n  accuracy  0.6515\n  intervals\n    \
                        f1  [0.5000, 0.7500]\n  rows      66\n";
        assert_eq!(outline(&document, 80), expected);
    }

    #[test]
    fn a_list_too_wide_for_a_line_has_one_for_each_entry() {
        let list = json!({"words": ["first of all", "second of them", "third"]});
        assert_eq!(
            outline(&list, 24),
            "words\n  0  first of all\n  1  second of them\n  2  third\n"
        );
        assert_eq!(outline(&json!("a\u{1b}b"), 80), "a\\u{1b}b\n");
    }
}
