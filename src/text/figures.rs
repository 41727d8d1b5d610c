//! Numbers, sizes, durations and metrics as people read them.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use crate::text::terminal::printable;

/// `0.4 s`, `12 s`, `6 min 50 s`, `2 h 5 min`.
pub fn seconds(seconds: f64) -> String {
    let whole = seconds.round().max(0.0) as u64;
    match whole {
        0..10 if seconds < 0.095 => format!("{:.0} ms", seconds * 1000.0),
        0..10 => format!("{seconds:.1} s"),
        10..60 => format!("{whole} s"),
        60..3600 => format!("{} min {} s", whole / 60, whole % 60),
        _ => format!("{} h {} min", whole / 3600, whole % 3600 / 60),
    }
}

/// A size: `812 B`, `3.9 MB` (powers of 1,000).
pub fn bytes(bytes: u64) -> String {
    let mut size = bytes as f64;
    let mut unit = "B";
    for larger in ["kB", "MB", "GB", "TB"] {
        // 999.95 would be written as 1000.0.
        if size < 999.95 {
            break;
        }
        size /= 1000.0;
        unit = larger;
    }
    if unit == "B" { format!("{bytes} B") } else { format!("{size:.1} {unit}") }
}

/// The time since a moment: `3 min`, `5 h`, `12 days`. Text that is not RFC 3339 is returned as it
/// is.
pub fn age(rfc3339: &str) -> String {
    let Ok(then) = humantime::parse_rfc3339(rfc3339) else { return rfc3339.to_owned() };
    let since = SystemTime::now().duration_since(then).unwrap_or(Duration::ZERO).as_secs();
    match since {
        0..60 => format!("{since} s"),
        60..3600 => format!("{} min", since / 60),
        3600..172_800 => format!("{} h", since / 3600),
        _ => format!("{} days", since / 86_400),
    }
}

/// `1,234,567`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The value of a metric: whole numbers in full, others with at most four decimals.
pub fn figure(value: f64) -> String {
    let size = value.abs();
    if value.fract() == 0.0 && size < 1e15 {
        let sign = if value < 0.0 { "-" } else { "" };
        return format!("{sign}{}", grouped(size as u64));
    }
    match size {
        1000.0..1e15 => {
            format!("{}{}", if value < 0.0 { "-" } else { "" }, grouped(size.round() as u64))
        }
        100.0.. => format!("{value:.1}"),
        0.001.. => {
            let text = format!("{value:.4}");
            // A value that rounds to a whole number loses its point as well.
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        }
        _ => format!("{value:.2e}"),
    }
}

/// Metrics in one line: `accuracy 0.7778, f1 0.7861`. Shows the headline metrics of the built-in
/// stages if there are any, else the first `at_most` metrics.
pub fn figures(values: &BTreeMap<String, f64>, at_most: usize) -> String {
    let text = |(name, value): (&String, &f64)| format!("{} {}", printable(name), figure(*value));
    let headline = stages::headline(|name| values.contains_key(name));
    let mut texts: Vec<String> = Vec::new();
    for found in headline.into_iter().filter_map(|name| values.get_key_value(name)).map(text) {
        if !texts.contains(&found) {
            texts.push(found);
        }
    }
    if !texts.is_empty() {
        return texts.join(", ");
    }
    texts.extend(values.iter().take(at_most).map(text));
    let more = values.len().saturating_sub(at_most);
    let rest = if more > 0 { format!(", and {more} more") } else { String::new() };
    texts.join(", ") + &rest
}

/// `1 stage`, `3 stages`.
pub fn count(number: usize, thing: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {thing}{plural}", grouped(number as u64))
}

/// Like [`figure`], with the same number of digits for every value of a usual size.
pub fn four(value: f64) -> String {
    let size = value.abs();
    match size == 0.0 || (0.001..10.0).contains(&size) {
        true => format!("{value:.4}"),
        false => figure(value),
    }
}

/// A number in a table of values: whole numbers in full, others with four decimals.
pub fn number(value: f64) -> String {
    let size = value.abs();
    if value.fract() == 0.0 && size < 1e15 {
        format!("{value}")
    } else if size >= 0.001 {
        format!("{value:.4}")
    } else {
        format!("{value:.2e}")
    }
}

#[cfg(test)]
mod tests {
    use crate::text::figures::{bytes, figures, grouped};

    #[test]
    fn the_headline_is_f1_of_two_labels_and_macro_f1_of_more() {
        let text = |names: &[&str]| {
            figures(&names.iter().map(|name| ((*name).to_owned(), 0.5)).collect(), 3)
        };
        assert_eq!(text(&["valid_f1", "valid_macro_f1", "valid_brier_score"]), "valid_f1 0.5");
        assert_eq!(text(&["valid_macro_f1", "valid_positive_f1"]), "valid_macro_f1 0.5");
    }

    #[test]
    fn numbers_and_sizes_read_well() {
        assert_eq!([0, 999, 1_000, 124_645_632].map(grouped).join(" "), "0 999 1,000 124,645,632");
        let sizes = [0, 999, 1_000, 3_876_480, 999_960, u64::MAX].map(bytes);
        assert_eq!(sizes.join(" | "), "0 B | 999 B | 1.0 kB | 3.9 MB | 1.0 MB | 18446744.1 TB");
    }
}
