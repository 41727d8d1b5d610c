//! The position of every key and value in a YAML text, from the events of `saphyr-parser`. Finds
//! duplicate keys on the way. The values come from `serde_yaml`, see `positions`.

use std::collections::BTreeMap;

use saphyr_parser::{Event, Parser};

/// The depth at which reading stops: deeper than any pipeline. `serde_yaml` stops at 128.
const MAX_DEPTH: usize = 100;

/// A place in the file. Line and column count from 1; column and width are in characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Span {
    pub(super) line: usize,
    pub(super) column: usize,
    /// 0 if the extent is unknown or covers several lines.
    pub(super) width: usize,
}

/// Where a key or a value was written.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Origin {
    File(Span),
    /// The `--set` at this index.
    Set(usize),
    /// The axis at this index among those typed after `pipe sweep`.
    Axis(usize),
    /// The argument `--profile`.
    Profile,
}

impl Origin {
    /// The line in the file; 0 for a value from the command line.
    pub(super) fn line(self) -> usize {
        match self {
            Origin::File(span) => span.line,
            Origin::Set(_) | Origin::Axis(_) | Origin::Profile => 0,
        }
    }
}

/// The position of a value and of everything inside it.
#[derive(Debug)]
pub(super) struct Mark {
    pub(super) origin: Origin,
    pub(super) kind: MarkKind,
}

#[derive(Debug)]
pub(super) enum MarkKind {
    Leaf,
    List(Vec<Mark>),
    Map(Vec<KeyMark>),
}

#[derive(Debug)]
pub(super) struct KeyMark {
    pub(super) key: String,
    pub(super) origin: Origin,
    pub(super) value: Mark,
}

/// A key that occurs a second time in its map.
#[derive(Debug)]
pub(super) struct Duplicate {
    pub(super) key: String,
    pub(super) span: Span,
    pub(super) first_line: usize,
}

impl Mark {
    /// A value without known positions inside it.
    pub(super) fn leaf(origin: Origin) -> Mark {
        Mark { origin, kind: MarkKind::Leaf }
    }
}

/// A map or list whose end has not been read yet.
enum Open {
    List(Span, Vec<Mark>),
    Map {
        span: Span,
        entries: Vec<KeyMark>,
        /// The line of every key read so far.
        lines: BTreeMap<String, usize>,
        /// The key whose value comes next.
        key: Option<(String, Span)>,
    },
}

/// The positions in `text`, as far as it can be parsed; `serde_yaml` reports syntax errors. `None`
/// if the text is empty or nested too deeply.
pub(super) fn read(text: &str) -> (Option<Mark>, Vec<Duplicate>) {
    let mut duplicates = Vec::new();
    let mut open: Vec<Open> = Vec::new();
    for event in Parser::new_from_str(text) {
        let Ok((event, span)) = event else { break };
        let at = span_of(&span);
        let finished = match event {
            Event::MappingStart(..) | Event::SequenceStart(..) if open.len() >= MAX_DEPTH => {
                return (None, duplicates);
            }
            Event::MappingStart(..) => {
                let (entries, lines) = (Vec::new(), BTreeMap::new());
                open.push(Open::Map { span: at, entries, lines, key: None });
                continue;
            }
            Event::SequenceStart(..) => {
                open.push(Open::List(at, Vec::new()));
                continue;
            }
            Event::MappingEnd | Event::SequenceEnd => match open.pop() {
                Some(Open::Map { span, entries, .. }) => {
                    Mark { origin: Origin::File(span), kind: MarkKind::Map(entries) }
                }
                Some(Open::List(span, items)) => {
                    Mark { origin: Origin::File(span), kind: MarkKind::List(items) }
                }
                None => break,
            },
            Event::Scalar(scalar, ..) => {
                if let Some(Open::Map { lines, key: key @ None, .. }) = open.last_mut() {
                    let scalar = scalar.into_owned();
                    match lines.get(&scalar) {
                        Some(&first_line) => {
                            duplicates.push(Duplicate {
                                key: scalar.clone(),
                                span: at,
                                first_line,
                            });
                        }
                        None => {
                            lines.insert(scalar.clone(), at.line);
                        }
                    }
                    *key = Some((scalar, at));
                    continue;
                }
                Mark::leaf(Origin::File(at))
            }
            Event::Alias(_) => Mark::leaf(Origin::File(at)),
            _ => continue,
        };
        match open.last_mut() {
            Some(Open::List(_, items)) => items.push(finished),
            Some(Open::Map { entries, key, .. }) => match key.take() {
                Some((key, span)) => {
                    let origin = Origin::File(span);
                    entries.push(KeyMark { key, origin, value: finished });
                }
                // The key is itself a map or a list, and has no name.
                None => *key = Some((String::new(), Span::default())),
            },
            None => return (Some(finished), duplicates),
        }
    }
    (None, duplicates)
}

fn span_of(span: &saphyr_parser::Span) -> Span {
    let one_line = span.start.line() == span.end.line();
    Span {
        line: span.start.line(),
        column: span.start.col() + 1,
        width: if one_line { span.end.col().saturating_sub(span.start.col()) } else { 0 },
    }
}
