//! What names may look like, and the environment variables that they become for a command.

use super::marks::Origin;
use super::problem::Problems;

/// The names of the variables that a variant has of its own.
pub(super) const ITEM: &str = "item";
pub(super) const MATRIX: &str = "matrix";

/// The rule of [`is_name`], in words.
pub(super) const RULE: &str =
    "letters, digits, `_` and `-`, not beginning with `-`, at most 100 of them";

/// Whether something may be called that: a stage, an output, an input, a parameter, a variable.
pub(super) fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 100
        && !name.starts_with('-')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
}

/// Refuses names that could not be typed as `stage:output` or used as a folder's name.
pub(super) fn check_name(what: &str, name: &str, origin: Origin, problems: &mut Problems) {
    if !is_name(name) {
        problems
            .at(origin, format!("`{name}` cannot be the name of a {what}"))
            .help(format!("use {}", RULE));
    }
}

/// Whether an environment variable may be called that, by POSIX.
pub(super) fn is_variable_name(name: &str) -> bool {
    !name.is_empty()
        && !name.as_bytes()[0].is_ascii_digit()
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// The first letters of the variables in which a command finds its inputs, outputs, parameters.
pub const INPUT_PREFIX: &str = "IN_";
pub const OUTPUT_PREFIX: &str = "OUT_";
pub const PARAM_PREFIX: &str = "PARAM_";

/// Whether a variable belongs to the command's inputs, outputs or parameters.
pub(super) fn is_reserved_variable(name: &str) -> bool {
    [INPUT_PREFIX, OUTPUT_PREFIX, PARAM_PREFIX].iter().any(|prefix| name.starts_with(prefix))
}

/// The environment variable for an input, output or parameter of a command: `IN_my_text` for the
/// input `my-text`, since a shell's variables have no dashes.
pub fn environment_variable(prefix: &str, name: &str) -> String {
    format!("{prefix}{}", name.replace('-', "_"))
}
