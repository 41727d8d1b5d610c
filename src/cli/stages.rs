//! `pipe stages`: describes the built-in stages, from the tables that pipelines are checked against.

use std::fmt::Write;

use clap::Args;
use stages::{Count, Stage};

use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::console::Console;
use crate::console::stages_page::stages_page;
use crate::files::digest::kind_name;
use crate::text::suggest::nearest;
use crate::text::terminal::{table, wrapped};
use crate::text::values::value_text;

#[derive(Debug, Args)]
pub struct StagesOptions {
    /// The built-in stage to describe. Default: list all
    name: Option<String>,
    /// Print the reference of all stages as Markdown (`docs/stages.md`)
    #[arg(long, hide = true, conflicts_with = "name")]
    markdown: bool,
}

pub fn execute(options: &StagesOptions, console: &Console) -> Result<Exit, Error> {
    let text = match &options.name {
        None if options.markdown => stages_page(),
        None => {
            let rows = stages::all()
                .iter()
                .map(|stage| vec![stage.name().to_owned(), stage.summary().to_owned()]);
            table(rows.collect())
        }
        Some(name) => {
            let names = stages::all().iter().map(|stage| stage.name());
            let stage = stages::find(name).ok_or_else(|| Error::UnknownBuiltin {
                name: name.clone(),
                nearest: nearest(name, names).map(str::to_owned),
            })?;
            described(stage)
        }
    };
    console.data(&text)?;
    Ok(Exit::Done)
}

fn described(stage: &dyn Stage) -> String {
    let mut text = format!("{} (version {})\n", stage.name(), stage.version());
    text.push_str(&wrapped(stage.summary(), 2));
    text.push_str("\ninputs\n");
    for input in stage.inputs() {
        let needed = if input.required { "" } else { ", optional" };
        let many = match input.count {
            Count::One => "",
            Count::OneOrSeveral => "one or several, each a ",
            Count::Set => "any number, each a ",
        };
        let _ = writeln!(text, "  {} ({many}{}{needed})", input.name, kind_name(input.kind));
        text.push_str(&wrapped(input.doc, 6));
    }
    text.push_str("\noutputs\n");
    for output in stage.outputs() {
        let given = output.given.map(|input| format!(", if `{input}` is given"));
        let (kind, given) = (kind_name(output.kind), given.unwrap_or_default());
        let _ = writeln!(text, "  {} ({kind} `{}`{given})", output.name, output.file);
        text.push_str(&wrapped(output.doc, 6));
    }
    text.push_str("\nparameters\n");
    for param in stage.params() {
        let default = match param.default.value() {
            None => "must be given".to_owned(),
            Some(serde_json::Value::Null) => "not set by default".to_owned(),
            Some(value) if value.as_str() == Some("") => "default empty".to_owned(),
            Some(value) if value.as_str() == Some(" ") => "default a space".to_owned(),
            Some(value) => format!("default {}", value_text(&value)),
        };
        let _ = writeln!(text, "  {}: {} ({default})", param.name, param.kind.expected());
        text.push_str(&wrapped(param.doc, 6));
    }
    text
}
