//! Colors. They never carry meaning on their own.

use std::io::IsTerminal;

use anstyle::{AnsiColor, Style};

/// When to use colors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// On a terminal that is not dumb, unless `NO_COLOR` is set.
    Auto,
    Always,
    Never,
}

/// The styles of one stream; all plain if the stream gets no colors.
#[derive(Clone, Copy, Debug, Default)]
pub struct Palette {
    pub good: Style,
    pub bad: Style,
    pub warning: Style,
    pub name: Style,
    pub dim: Style,
}

impl Palette {
    pub fn of(stream: &impl IsTerminal, when: When) -> Palette {
        let colored = match when {
            When::Auto => {
                stream.is_terminal()
                    && !is_dumb()
                    && std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty())
            }
            When::Always => true,
            When::Never => false,
        };
        if !colored {
            return Palette::default();
        }
        let color = |color: AnsiColor| Style::new().fg_color(Some(color.into()));
        Palette {
            good: color(AnsiColor::Green),
            bad: color(AnsiColor::Red).bold(),
            warning: color(AnsiColor::Yellow).bold(),
            name: Style::new().bold(),
            dim: Style::new().dimmed(),
        }
    }
}

impl Palette {
    /// Whether the stream gets colors.
    pub fn is_colored(&self) -> bool {
        self.bad != Style::default()
    }
}

/// A terminal that cannot move its cursor.
pub fn is_dumb() -> bool {
    std::env::var_os("TERM").is_some_and(|term| term == "dumb")
}

/// `text` in `style`.
pub fn paint(style: Style, text: &str) -> String {
    format!("{style}{text}{style:#}")
}
