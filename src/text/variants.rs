//! The names of variants, which `foreach` and `matrix` make of one stage: the stage's name, `@`,
//! and a label. How a value becomes part of a label, and which variants a pattern means.
//!
//! ```text
//! finetune@1                     foreach: [1, 2, 3]
//! finetune@seed=1,share=0.8      matrix: {seed: [1, 2], share: [0.8, 0.9]}
//! finetune@seed=1  finetune@*  finetune@seed=*,share=0.9      patterns
//! ```
//!
//! A label is safe as a file's name and in a shell: letters, digits and `._+-`, and between them
//! `=` and `,`. No other stage has `@` in its name.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::files::digest::Digest;
use crate::text::figures::grouped;
use crate::text::values::value_text;

/// Between the name of a stage and the label of a variant.
pub const MARK: char = '@';

/// A label's part for one value is no longer than this.
const MAX_LABEL: usize = 48;

/// A list of names is cut short where it has this many variants of a stage.
const MANY_NAMES: usize = 3;

/// The name of the stage that a variant is of; a stage that is none is its own family.
pub fn family(stage: &str) -> &str {
    stage.split_once(MARK).map_or(stage, |(family, _)| family)
}

/// The label of a variant; `None` for a stage that is none.
pub fn label(stage: &str) -> Option<&str> {
    stage.split_once(MARK).map(|(_, label)| label)
}

/// A value as a part of a label: as people write it, with `-` for every run of characters that a
/// shell or a path would see something in. What is long ends in a part of its BLAKE3 digest.
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

/// Whether a reference means a set of variants, however many it finds.
pub fn is_pattern(reference: &str) -> bool {
    label(reference).is_some_and(|label| label.contains('*'))
}

/// Whether a reference (`finetune`, `finetune@seed=1`, `finetune@*`) means that stage. A family
/// means all its variants, a label all variants with those values; numbers are compared as such.
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

fn same(wanted: &str, known: &str) -> bool {
    let number = |text: &str| text.parse::<f64>().ok();
    wanted == "*" || wanted == known || number(wanted).is_some_and(|it| number(known) == Some(it))
}

/// Names, with `train@… (12)` for many variants of a stage, where the first of them stands.
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

/// `a`, `a and b`, `a, b and 12 more`; several variants of a stage are `a@… (12)`.
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
