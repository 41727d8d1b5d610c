//! Words of a POSIX shell.

/// A text in quotes, as a single word.
pub fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// A text as a single word, in quotes only where it needs them.
pub fn word(text: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_./=:@%+,-".contains(&byte);
    match !text.is_empty() && text.bytes().all(is_plain) {
        true => text.to_owned(),
        false => quoted(text),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn only_what_a_shell_would_read_otherwise_is_quoted() {
        for (text, word) in [
            ("a/b-c=1.5", "a/b-c=1.5"),
            ("", "''"),
            ("two words", "'two words'"),
            ("it's", r"'it'\''s'"),
            ("$HOME", "'$HOME'"),
        ] {
            assert_eq!(super::word(text), word);
        }
    }
}
