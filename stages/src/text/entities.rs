//! Decodes HTML entities in tweets: `&amp;`, `&#8217;`, `&#x1F602;`. Entities that HTML 4 does not
//! define are removed, as NLTK's tweet tokenizer does.

use std::collections::HashMap;
use std::sync::LazyLock;

/// Lines `name code-point`, the code point in hexadecimal, from Python's `html.entities`.
const NAMED: &str = include_str!("data/entities.txt");

static NAMES: LazyLock<HashMap<&str, char>> = LazyLock::new(|| {
    NAMED
        .lines()
        .filter_map(|line| {
            let (name, code) = line.split_once(' ')?;
            Some((name, char::from_u32(u32::from_str_radix(code, 16).ok()?)?))
        })
        .collect()
});

/// The characters of Windows-1252 at 0x80 to 0x9f, as browsers decode numeric entities in that
/// range; `\0` where Windows-1252 has none.
const WINDOWS_1252: [char; 32] = [
    '€', '\0', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\0', 'Ž', '\0', '\0', '‘',
    '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\0', 'ž', 'Ÿ',
];

/// Replaces entities with their characters.
pub fn replace_entities(text: &str) -> String {
    let mut replaced = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find('&') {
        replaced.push_str(&rest[..start]);
        rest = &rest[start + 1..];
        let end = rest.find(|c: char| c == '&' || c == ';' || c.is_whitespace());
        match end.filter(|end| *end > 0 && rest[*end..].starts_with(';')) {
            Some(end) => {
                replaced.extend(character(&rest[..end]));
                rest = &rest[end + 1..];
            }
            None => replaced.push('&'),
        }
    }
    replaced.push_str(rest);
    replaced
}

/// Decodes the text between `&` and `;`. As in NLTK's pattern, `(#?(x?))([^&;\s]+)`, an `x` starts
/// a hexadecimal number even without a `#`.
fn character(entity: &str) -> Option<char> {
    let strip = |text: &str, mark: char| {
        text.strip_prefix(mark).filter(|rest| !rest.is_empty()).map(str::to_owned)
    };
    let decimal = strip(entity, '#');
    let hexadecimal = strip(decimal.as_deref().unwrap_or(entity), 'x');
    match (decimal, hexadecimal) {
        (_, Some(digits)) => numeric(&digits, 16),
        (Some(digits), None) => numeric(&digits, 10),
        (None, None) => NAMES.get(entity).copied(),
    }
}

/// The character with this number. As Python's `int`, accepts a sign, single underscores between
/// digits, and `0x` in hexadecimal.
fn numeric(digits: &str, radix: u32) -> Option<char> {
    let (negative, digits) = match digits.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, digits.strip_prefix('+').unwrap_or(digits)),
    };
    let prefixed = ["0x", "0X"].iter().find_map(|prefix| digits.strip_prefix(prefix));
    let digits = match prefixed.filter(|_| radix == 16) {
        Some(rest) => rest.strip_prefix('_').unwrap_or(rest),
        None => digits,
    };
    let mut number: u32 = 0;
    for group in digits.split('_') {
        if group.is_empty() {
            return None;
        }
        for digit in group.chars() {
            number = number.checked_mul(radix)?.checked_add(digit.to_digit(radix)?)?;
        }
    }
    match number {
        0x80..=0x9f if !negative => {
            Some(WINDOWS_1252[number as usize - 0x80]).filter(|character| *character != '\0')
        }
        1.. if negative => None,
        _ => char::from_u32(number),
    }
}
