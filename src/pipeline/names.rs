//! Which names are valid, and the environment variables that a command finds them under.

use super::marks::Origin;
use super::problem::Problems;

/// The variables of a variant: `${item}` for `foreach`, `${matrix.axis}` for `matrix`.
pub(super) const ITEM: &str = "item";
pub(super) const MATRIX: &str = "matrix";

/// The rule of [`is_name`] in words, for messages.
pub(super) const RULE: &str =
    "letters, digits, `_` and `-`, not beginning with `-`, at most 100 of them";

/// Whether `name` is valid for a stage, an output, an input, a parameter or a variable.
pub(super) fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 100
        && !name.starts_with('-')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
}

/// Refuses a name that cannot stand in `stage:output` or name a folder. `what` says what it names.
pub(super) fn check_name(what: &str, name: &str, origin: Origin, problems: &mut Problems) {
    if !is_name(name) {
        problems
            .at(origin, format!("`{name}` cannot be the name of a {what}"))
            .help(format!("use {}", RULE));
    }
}

/// Whether `name` is a valid environment variable by POSIX.
pub(super) fn is_variable_name(name: &str) -> bool {
    !name.is_empty()
        && !name.as_bytes()[0].is_ascii_digit()
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// Prefixes of the environment variables that hold inputs, outputs and parameters of a command.
pub const INPUT_PREFIX: &str = "IN_";
pub const OUTPUT_PREFIX: &str = "OUT_";
pub const PARAM_PREFIX: &str = "PARAM_";

/// Whether a variable has one of the prefixes of inputs, outputs and parameters.
pub(super) fn is_reserved_variable(name: &str) -> bool {
    [INPUT_PREFIX, OUTPUT_PREFIX, PARAM_PREFIX].iter().any(|prefix| name.starts_with(prefix))
}

/// The environment variable of an input, output or parameter of a command: `IN_my_text` for the
/// input `my-text`, since shell variables have no dashes.
pub fn environment_variable(prefix: &str, name: &str) -> String {
    format!("{prefix}{}", name.replace('-', "_"))
}
