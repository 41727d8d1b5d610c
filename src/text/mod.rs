//! Wording: numbers, durations, lines that fit the terminal, names of variants, and the nearest
//! name to a typo.

pub mod figures;
pub mod shell;
pub mod suggest;
pub mod terminal;
pub mod values;
pub mod variants;
