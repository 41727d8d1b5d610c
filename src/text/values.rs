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

/// Two different values, each as short text on one line, so that the texts differ too: with their
/// YAML types (`1 (a string)`), in quotation marks, or from where they begin to differ.
pub fn contrasted(from: &Value, to: &Value) -> (String, String) {
    let (plain_from, plain_to) = (value_text(from), value_text(to));
    let (short_from, short_to) = (shorten(&plain_from), shorten(&plain_to));
    if plain_from == plain_to {
        let typed = |text: &str, value: &Value| format!("{text} ({})", yaml_type(value));
        return (typed(&short_from, from), typed(&short_to, to));
    }
    // White space at the ends, and a line break beside its sign, cannot be seen without quotes.
    let by_space = short_from.trim() == short_to.trim() && plain_from.trim() == plain_to.trim();
    let (quoted_from, quoted_to) = (shorten(&from.to_string()), shorten(&to.to_string()));
    if by_space && quoted_from != quoted_to {
        return (quoted_from, quoted_to);
    }
    if short_from != short_to {
        return (short_from, short_to);
    }
    const BEFORE: usize = 12;
    let both = plain_from.chars().zip(plain_to.chars());
    let same = both.take_while(|(one, other)| one == other).count();
    let tail = |text: &str| {
        let rest: String = text.chars().skip(same.saturating_sub(BEFORE)).collect();
        // The escapes of a string tell a line break from the sign that `shorten` writes for it.
        let cut = if same < BEFORE { rest } else { format!("…{rest}") };
        shorten(&if by_space || same < BEFORE { Value::from(cut).to_string() } else { cut })
    };
    (tail(&plain_from), tail(&plain_to))
}

/// The type of a value, in the words of YAML.
fn yaml_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "a map",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::contrasted;

    #[track_caller]
    fn expect(from: Value, to: Value, texts: (&str, &str)) {
        assert_eq!(contrasted(&from, &to), (texts.0.to_owned(), texts.1.to_owned()));
    }

    #[test]
    fn two_values_that_differ_are_shown_by_texts_that_differ() {
        expect(json!(1), json!(2), ("1", "2"));
        expect(json!("1"), json!(1), ("1 (a string)", "1 (a number)"));
        expect(json!(null), json!("null"), ("null (null)", "null (a string)"));
        expect(json!([1]), json!("[1]"), ("[1] (a list)", "[1] (a string)"));
        expect(json!(0.0), json!(-0.0), ("0.0", "-0.0"));
        expect(json!(1), json!(1.0), ("1", "1.0"));
        expect(json!("a"), json!("a "), ("\"a\"", "\"a \""));
        expect(json!("a⏎b"), json!("a\nb"), ("\"a⏎b\"", "\"a\\nb\""));
        let long = "x".repeat(60);
        let (from, to) = (format!("{long} old"), format!("{long} new"));
        expect(json!(from), json!(to), ("…xxxxxxxxxxx old", "…xxxxxxxxxxx new"));
        for space in [" ", "\n", "\t", "\u{a0}"] {
            let (from, to) = contrasted(&json!(long), &json!(format!("{long}{space}")));
            assert_ne!(from, to);
        }
    }
}
