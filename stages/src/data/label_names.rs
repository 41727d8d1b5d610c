//! Names of labels that a person should look at: two that look alike, one that means "no value",
//! too many of them, one that is missing from the training data. Also how to show a name so that
//! what is special about it can be seen.

use std::borrow::Borrow;
use std::collections::BTreeMap;

use unicode_normalization_alignments::UnicodeNormalization;

/// How many names or groups of names a message lists.
const LISTED: usize = 5;

/// Fewer labels than this are never too many: a data set with four labels may have six rows.
const FEW_LABELS: usize = 5;

/// This many labels that occur once are too many, however many rows the others have.
const MOST_SINGLE: usize = 150;

/// What spreadsheets, pandas, Python, R and JavaScript write where there is no value, in lower case.
const MISSING: [&str; 14] = [
    "nan",
    "-nan",
    "nat",
    "null",
    "(null)",
    "<null>",
    "none",
    "nil",
    "na",
    "n/a",
    "#n/a",
    "#na",
    "<na>",
    "undefined",
];

/// Names that differ, but not to the eye.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LookAlikes<'a> {
    /// Two or more.
    pub names: Vec<&'a str>,
    /// What they differ in, for `differ in …`.
    pub difference: &'static str,
}

/// Groups the names that look alike. Names that look like no other are left out.
pub fn look_alikes<'a>(names: impl IntoIterator<Item = &'a str>) -> Vec<LookAlikes<'a>> {
    let mut groups: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for name in names {
        let group = groups.entry(folded(name)).or_default();
        if !group.contains(&name) {
            group.push(name);
        }
    }
    let alike = groups.into_values().filter(|names| names.len() > 1);
    alike.map(|names| LookAlikes { difference: difference(&names), names }).collect()
}

/// The one of `names` that looks like `name` without being equal to it.
pub fn look_alike<'a>(
    name: &str,
    mut names: impl Iterator<Item = &'a str>,
) -> Option<(&'a str, &'static str)> {
    let wanted = folded(name);
    let found = names.find(|other| *other != name && folded(other) == wanted)?;
    Some((found, difference(&[name, found])))
}

/// Warnings about names that look alike. `told` says of a name how often it occurs and where;
/// `advice` what to do about it.
pub fn look_alike_warnings<'a>(
    names: impl IntoIterator<Item = &'a str>,
    told: impl Fn(&str) -> String,
    advice: impl Fn(&str, &str) -> String,
) -> Vec<String> {
    let groups = look_alikes(names);
    let warning = |LookAlikes { names, difference }: &LookAlikes| {
        let list: Vec<String> = names
            .iter()
            .take(LISTED)
            .map(|name| format!("{} ({})", shown(name), told(name)))
            .collect();
        let advice = advice(names[1], names[0]);
        format!("labels that differ only in {difference}: {}; {advice}", list.join(", "))
    };
    let mut warnings: Vec<String> = groups.iter().take(LISTED).map(warning).collect();
    if let (Some(last), more @ 1..) = (warnings.last_mut(), groups.len().saturating_sub(LISTED)) {
        *last += &format!(". There are {more} more such groups of labels");
    }
    warnings
}

/// What all names have in common once it is put aside, the least of it.
fn difference(names: &[&str]) -> &'static str {
    let equal = |form: &dyn Fn(&str) -> String| {
        let first = form(names[0]);
        names.iter().all(|name| form(name) == first)
    };
    let composed = |name: &str| name.nfc().map(|(it, _)| it).collect::<String>();
    let normal = |name: &str| name.nfkc().map(|(it, _)| plain(it)).collect::<String>();
    if equal(&|name| without_space(name)) {
        "white space or invisible characters"
    } else if equal(&|name| without_case(name)) {
        "case"
    } else if equal(&composed) || equal(&normal) {
        "their Unicode form"
    } else if equal(&|name| number(name.trim()).unwrap_or_else(|| name.to_owned())) {
        "how the number is written"
    } else {
        "white space, case, Unicode form or how a number is written"
    }
}

/// The name in the form that all names have that look like it.
fn folded(name: &str) -> String {
    let normal: String = name.nfkc().map(|(it, _)| plain(it)).collect();
    let normal: String = without_case(&without_space(&normal)).nfkc().map(|(it, _)| it).collect();
    number(&normal).unwrap_or(normal)
}

/// The hyphen or quotation mark of a keyboard instead of a typographic one.
fn plain(character: char) -> char {
    match character {
        '\u{2010}'..='\u{2015}' | '\u{2212}' => '-',
        '\u{2018}' | '\u{2019}' => '\'',
        '\u{201c}' | '\u{201d}' => '"',
        other => other,
    }
}

/// To upper case first, so that `ß` becomes `ss`, and both forms of sigma the same.
fn without_case(name: &str) -> String {
    name.to_uppercase().to_lowercase()
}

fn without_space(name: &str) -> String {
    name.chars().filter(|it| !it.is_whitespace() && !is_invisible(*it)).collect()
}

/// Characters without a width: joiners, marks of direction, byte order marks, soft hyphens, and
/// selectors of a variant.
fn is_invisible(character: char) -> bool {
    matches!(
        character,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{180b}'..='\u{180e}' | '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}'
    )
}

/// Whether a name holds nothing that can be seen.
pub fn is_blank(name: &str) -> bool {
    without_space(name).is_empty()
}

/// A number without a sign `+`, leading zeros, and zeros or a point at the end: `1.0`, `01` and
/// `1` are the same. `None` if the name is no number. Works on digits, because long ids are more
/// exact than a float.
fn number(name: &str) -> Option<String> {
    let unsigned = name.trim_start_matches(['+', '-']);
    if name.len() - unsigned.len() > 1 {
        return None;
    }
    let (digits, exponent) = unsigned.split_once(['e', 'E']).unwrap_or((unsigned, "0"));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let all_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.len() + fraction.len() == 0 || !all_digits(whole) || !all_digits(fraction) {
        return None;
    }
    let mut exponent = exponent.parse::<i64>().ok()?.checked_sub(fraction.len() as i64)?;
    let digits = format!("{whole}{fraction}");
    let digits = digits.trim_start_matches('0');
    let significant = digits.trim_end_matches('0');
    if significant.is_empty() {
        return Some("0".to_owned());
    }
    exponent = exponent.checked_add((digits.len() - significant.len()) as i64)?;
    let sign = if name.starts_with('-') { "-" } else { "" };
    Some(format!("{sign}{significant}e{exponent}"))
}

/// Whether a name is what a program writes where there is no value.
pub fn is_missing(name: &str) -> bool {
    MISSING.contains(&without_case(&without_space(name)).as_str())
}

/// A warning about labels that mean "no value", from the rows of each label.
pub fn missing_warning<N: Borrow<str>>(labels: &[(N, u64)], advice: &str) -> Option<String> {
    let found: Vec<_> = labels.iter().filter(|(name, _)| is_missing(name.borrow())).collect();
    let list = listed(&found.iter().map(|(name, rows)| (name.borrow(), *rows)).collect::<Vec<_>>());
    let rows: u64 = found.iter().map(|(_, rows)| rows).sum();
    (rows > 0).then(|| {
        format!(
            "{} with a label that often stands for a missing one: {list}; {advice}",
            row_count(rows)
        )
    })
}

/// Why the values of a field are no labels, from the rows of each; `None` if they may be labels.
pub fn too_many_labels(rows_of_labels: impl Iterator<Item = u64> + Clone) -> Option<String> {
    let labels = rows_of_labels.clone().count();
    let rows: u64 = rows_of_labels.clone().sum();
    let single = rows_of_labels.filter(|rows| *rows == 1).count();
    if labels >= FEW_LABELS && labels as u64 * 2 > rows {
        return Some(format!("{labels} different labels in {}", row_count(rows)));
    }
    (single >= MOST_SINGLE)
        .then(|| format!("{single} of the {labels} different labels occur in one row only"))
}

/// A warning about labels of `input` that no row of the training data has. Both are names with
/// their rows. Names that look like one of the training data are left out: they have a warning of
/// their own.
pub fn untrained_warning(
    input: &str,
    found: &[(&str, u64)],
    trained: &[&str],
    advice: &str,
) -> Option<String> {
    let untrained: Vec<(&str, u64)> = found
        .iter()
        .filter(|(name, rows)| *rows > 0 && !trained.contains(name))
        .filter(|(name, _)| look_alike(name, trained.iter().copied()).is_none())
        .copied()
        .collect();
    let rows: u64 = untrained.iter().map(|(_, rows)| rows).sum();
    (rows > 0).then(|| {
        format!(
            "{} of `{input}` {} a label that is missing from the training data, so no model can \
             predict it: {}; {advice}",
            row_count(rows),
            if rows == 1 { "has" } else { "have" },
            listed(&untrained),
        )
    })
}

/// Names with their rows, the most frequent first: `` `a` (12), `b` (3) and 2 more``.
pub fn listed(labels: &[(&str, u64)]) -> String {
    let mut labels: Vec<_> = labels.iter().filter(|(_, rows)| *rows > 0).collect();
    labels.sort_by_key(|(name, rows)| (std::cmp::Reverse(*rows), *name));
    let mut list: Vec<String> = labels
        .iter()
        .take(LISTED)
        .map(|(name, rows)| format!("{} ({rows})", shown(name)))
        .collect();
    if labels.len() > LISTED {
        list.push(format!("{} more", labels.len() - LISTED));
    }
    list.join(", ")
}

/// `1 row`, `2 rows`.
pub fn row_count(rows: u64) -> String {
    format!("{rows} row{}", if rows == 1 { "" } else { "s" })
}

/// What in a text ends a line for some reader, in words; `None` if nothing does. Python's
/// `splitlines` has the longest list.
pub fn line_break(text: &str) -> Option<&'static str> {
    let ends_line = |it: char| {
        matches!(
            it,
            '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{1c}'
                ..='\u{1e}' | '\u{85}' | '\u{2028}' | '\u{2029}'
        )
    };
    if text.contains('\0') {
        return Some("a null character");
    }
    text.contains(ends_line).then_some("a line break")
}

/// A name in backticks, in which characters that cannot be seen or told apart are escaped:
/// `` `A\u{a0}` ``. A long name is cut.
pub fn shown(name: &str) -> String {
    const LONGEST: usize = 60;
    let mut text = String::new();
    for character in name.chars().take(LONGEST) {
        match is_unclear(character, name) {
            true => text.extend(character.escape_default()),
            false => text.push(character),
        }
    }
    if name.chars().nth(LONGEST).is_some() {
        text.push('…');
    }
    format!("`{text}`")
}

/// A name as YAML on one line, for advice that can be copied.
pub fn yaml(name: &str) -> String {
    let mut text = String::new();
    let mut units = [0; 2];
    for character in name.chars() {
        match character {
            '"' | '\\' => text.extend(['\\', character]),
            _ if is_unclear(character, name) => {
                // Two escapes for a character beyond U+FFFF, as JSON writes it, are not YAML. No
                // unclear character is there.
                let units = character.encode_utf16(&mut units);
                units.iter().for_each(|unit| text += &format!("\\u{unit:04x}"));
            }
            _ => text.push(character),
        }
    }
    format!("\"{text}\"")
}

/// Whether a character of a name cannot be seen, or is one of several ways to write the same.
fn is_unclear(character: char, name: &str) -> bool {
    let is_space = character.is_whitespace() && character != ' ';
    let is_decomposed = || !character.is_ascii() && name.nfc().map(|(it, _)| it).ne(name.chars());
    character.is_control() || is_space || is_invisible(character) || is_decomposed()
}
