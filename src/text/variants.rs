//! The names of the variants that `foreach` and `matrix` make from one stage: the name of the
//! stage, `@`, and a label. Makes labels from values, and matches patterns against names.
//!
//! ```text
//! finetune@1                     foreach: [1, 2, 3]
//! finetune@seed=1,share=0.8      matrix: {seed: [1, 2], share: [0.8, 0.9]}
//! finetune@seed=1  finetune@*  finetune@seed=*,share=0.9      patterns
//! ```
//!
//! A label is safe in a file name and in a shell: letters, digits and `._+-`, separated by `=` and
//! `,`. Only variants have `@` in their names.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::files::digest::Digest;
use crate::text::figures::grouped;
use crate::text::values::value_text;

/// Separates the name of a stage from the label of a variant.
pub const MARK: char = '@';

/// Upper bound on the part of a label for one value, in bytes.
const MAX_LABEL: usize = 48;

/// From this number of variants of a stage on, a list of names folds them into one.
const MANY_NAMES: usize = 3;

/// The name of the stage that a variant was made from. Any other stage is its own family.
pub fn family(stage: &str) -> &str {
    stage.split_once(MARK).map_or(stage, |(family, _)| family)
}

/// The label of a variant; `None` for other stages.
pub fn label(stage: &str) -> Option<&str> {
    stage.split_once(MARK).map(|(_, label)| label)
}

/// A value as part of a label: as people write it, with `-` for each run of characters that a
/// shell or a path would interpret. A long value is cut and ends in a part of its BLAKE3 digest.
pub fn value_label(value: &Value) -> String {
    let text = value_text(value);
    let mut label = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            _ if character.is_ascii_alphanumeric() || "._+-".contains(character) => {
                label.push(character);
            }
            _ if label.ends_with('-') => {}
            _ => label.push('-'),
        }
    }
    if label.len() > MAX_LABEL {
        let digest = Digest::of_bytes(text.as_bytes()).short();
        label.truncate(MAX_LABEL - digest.len() - 1);
        label = format!("{label}-{digest}");
    }
    label
}

/// Whether a reference means a set of variants, even if it matches only one.
pub fn is_pattern(reference: &str) -> bool {
    label(reference).is_some_and(|label| label.contains('*'))
}

/// Whether a reference (`finetune`, `finetune@seed=1`, `finetune@*`) matches a stage. The name of a
/// family matches all its variants; a label matches all variants with its values. Numbers are
/// compared by value.
pub fn matches(reference: &str, stage: &str) -> bool {
    if reference == stage {
        return true;
    }
    let (Some(known), true) = (label(stage), family(reference) == family(stage)) else {
        return false;
    };
    let Some(wanted) = label(reference) else { return true };
    wanted.split(',').all(|part| match part.split_once('=') {
        _ if part == "*" => true,
        Some((axis, value)) => known.split(',').any(|part| {
            part.split_once('=').is_some_and(|(name, known)| name == axis && same(value, known))
        }),
        None => !known.contains('=') && same(part, known),
    })
}

/// Whether a value of a reference matches that of a variant.
fn same(wanted: &str, known: &str) -> bool {
    let number = |text: &str| text.parse::<f64>().ok();
    wanted == "*" || wanted == known || number(wanted).is_some_and(|it| number(known) == Some(it))
}

/// A list of names, with `train@… (12)` at the place of the first of many variants of a stage.
pub fn folded(names: &[&str]) -> Vec<String> {
    let mut families: BTreeMap<&str, usize> = BTreeMap::new();
    for name in names.iter().filter(|name| label(name).is_some()) {
        *families.entry(family(name)).or_default() += 1;
    }
    let mut folded = Vec::new();
    for name in names {
        match families.get_mut(family(name)).filter(|_| label(name).is_some()) {
            Some(0) => {}
            Some(count) if *count >= MANY_NAMES => {
                folded.push(format!("{}@… ({})", family(name), grouped(*count as u64)));
                *count = 0;
            }
            _ => folded.push((*name).to_owned()),
        }
    }
    folded
}

/// Names in a sentence: `a`, `a and b`, `a, b and 12 more`. Many variants are `a@… (12)`.
pub fn names(names: &[&str]) -> String {
    const SHOWN: usize = 6;
    let names = folded(names);
    match names.as_slice() {
        [] => String::new(),
        [one] => one.clone(),
        [most @ .., last] if names.len() <= SHOWN => format!("{} and {last}", most.join(", ")),
        _ => format!("{} and {} more", names[..SHOWN].join(", "), names.len() - SHOWN),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::text::variants::{matches, value_label};

    #[test]
    fn a_label_is_what_people_write_and_safe() {
        let label = |value| value_label(&value);
        assert_eq!(label(json!(2e-5)), "2e-5");
        assert_eq!(label(json!(0.9)), "0.9");
        assert_eq!(label(json!("hub:a/b c@main")), "hub-a-b-c-main");
        assert_eq!(label(json!("..")), "..");
        let (one, two) = (label(json!("x".repeat(90))), label(json!("x".repeat(91))));
        assert_eq!(one.len(), 48);
        assert_ne!(one, two);
    }

    #[test]
    fn a_reference_means_the_variants_with_its_values() {
        for (reference, meant) in [
            ("a", true),
            ("a@*", true),
            ("a@seed=1", true),
            ("a@share=0.90,seed=1", true),
            ("a@seed=*,share=0.9", true),
            ("a@share=0.9,*", true),
            ("a@seed=2", false),
            ("a@seed=1,share=0.8", false),
            ("a@1", false),
            ("b@*", false),
        ] {
            assert_eq!(matches(reference, "a@seed=1,share=0.9"), meant, "{reference}");
        }
        assert!(matches("a@1.0", "a@1") && matches("a@*", "a@1") && !matches("a@2", "a@1"));
        assert!(!matches("a@*", "a"));
    }
}
