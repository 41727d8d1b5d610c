//! The nearest name of a command or an option to one that does not exist, where the command-line
//! parser finds none: it does not see that `rnu` is `run` with two letters swapped.

use clap::error::{ContextKind, ContextValue, Error};
use clap::{Arg, Command};

use crate::text::suggest::nearest;

/// Adds the nearest name to an error about a name. `arguments` are those after the program's name.
pub fn suggest(error: &mut Error, program: &Command, arguments: impl Iterator<Item = String>) {
    let wrong = |kind| match error.get(kind) {
        Some(ContextValue::String(name)) => Some(name.clone()),
        _ => None,
    };
    let command = command_of(program, arguments);
    if let Some(wrong) = wrong(ContextKind::InvalidSubcommand) {
        let shown = || command.get_subcommands().filter(|it| !it.is_hide_set());
        let mut names: Vec<String> = match error.remove(ContextKind::SuggestedSubcommand) {
            Some(ContextValue::Strings(names)) => names,
            _ => Vec::new(),
        };
        // The parser also suggests commands that are not for people.
        names.retain(|name| shown().any(|it| it.get_name() == name));
        if names.is_empty() {
            names.extend(nearest(&wrong, shown().map(Command::get_name)).map(str::to_owned));
        }
        if !names.is_empty() {
            error.insert(ContextKind::SuggestedSubcommand, ContextValue::Strings(names));
        }
    } else if let Some(wrong) = wrong(ContextKind::InvalidArg) {
        let options = command.get_arguments().chain(program.get_arguments());
        let options = options.filter(|it| !it.is_hide_set());
        let options = options.filter_map(Arg::get_long);
        if error.get(ContextKind::SuggestedArg).is_none()
            && let Some(typed) = wrong.strip_prefix("--")
            && let Some(name) = nearest(typed, options)
        {
            error.insert(ContextKind::SuggestedArg, ContextValue::String(format!("--{name}")));
        }
    }
}

/// The command that the arguments name, as far as they name one.
fn command_of(program: &Command, arguments: impl Iterator<Item = String>) -> &Command {
    let (mut found, mut is_value) = (program, false);
    for argument in arguments {
        if !is_value {
            found = found.find_subcommand(&argument).unwrap_or(found);
        }
        let mut options = found.get_arguments().chain(program.get_arguments());
        is_value = options.any(|it| it.get_action().takes_values() && is_named(it, &argument));
    }
    found
}

/// Whether an argument is the name of this option, without a value.
fn is_named(option: &Arg, argument: &str) -> bool {
    let short = option
        .get_short()
        .is_some_and(|it| argument.strip_prefix('-') == Some(it.encode_utf8(&mut [0; 4])));
    short || option.get_long().is_some_and(|it| argument.strip_prefix("--") == Some(it))
}
